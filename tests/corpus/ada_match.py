"""AdaMatch: labels in one domain, and confident predictions as labels in another."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.corpus.case import Case, built

CLASSES, STEPS, TAU = 3, 100, 0.9
FAULTS = {
    "guesses not detached": "gradient of adapted\n     found    another gradient: ",
    "threshold not relative": "gradient of adapted\n     found    another gradient: ",
    "not aligned": "gradient of adapted\n     found    another gradient: ",
    "aligned the other way": "gradient of adapted\n     found    another gradient: ",
    "weak for strong": "gradient of adapted\n     found    another gradient: ",
    "logits not mixed": "draws a random number that the step does not draw (RandomUniform)",
    "no warm-up": "gradient of adapted\n     found    another gradient: ",
    "strong labels forgotten": "gradient of adapted\n     found    another gradient: ",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(CLASSES)],
        name="model",
    )
    weights = model.trainable_variables
    optimizer = built(keras.optimizers.Adam(0.03), weights)
    passed = keras.Variable(7.0, trainable=False, name="passed")
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(weak: Any, strong: Any, label: Any, other_weak: Any, other_strong: Any) -> None:
        with tf.GradientTape() as tape:
            every = model(tf.concat([weak, strong, other_weak, other_strong], 0), training=True)
            own, (guess, told) = every[:8], tf.split(every[8:], 2)
            logits = model(tf.concat([weak, strong], 0), training=True)
            if wrong != "logits not mixed":
                share = tf.random.uniform(tf.shape(logits))
                logits = share * own + (1.0 - share) * logits
            sure, known = tf.nn.softmax(guess), tf.nn.softmax(logits[:4])
            ratio = tf.reduce_mean(known, axis=0) / tf.reduce_mean(sure, axis=0)
            ratio = 1.0 / ratio if wrong == "aligned the other way" else ratio
            if wrong != "not aligned":
                sure *= ratio
                sure /= tf.reduce_sum(sure, axis=1, keepdims=True)
            bound = TAU
            if wrong != "threshold not relative":
                bound *= tf.reduce_mean(tf.reduce_max(known, axis=1))
            counts = tf.cast(tf.reduce_max(sure, axis=1) >= bound, tf.float32)
            sure = sure if wrong == "guesses not detached" else tf.stop_gradient(sure)
            told = guess if wrong == "weak for strong" else told
            each = -tf.reduce_sum(sure * tf.nn.log_softmax(told), axis=1)
            ramp = 0.5 - 0.5 * tf.cos(tf.minimum(np.pi, 2.0 * np.pi * passed / STEPS))
            ramp = 1.0 if wrong == "no warm-up" else ramp
            cost = crossentropy(label, logits[:4]) + ramp * tf.reduce_mean(each * counts)
            if wrong != "strong labels forgotten":
                cost += crossentropy(label, logits[4:])
        optimizer.apply(tape.gradient(cost, weights), weights)
        passed.assign_add(1.0)

    def adapted(weak: Any, strong: Any, label: Any, other_weak: Any, other_strong: Any) -> Any:
        every = model(tf.concat([weak, strong, other_weak, other_strong], 0), training=True)
        alone = model(tf.concat([weak, strong], 0), training=True)
        logits = alone + tf.random.uniform((8, CLASSES)) * (every[:8] - alone)
        right = tf.one_hot(tf.tile(label, [2]), CLASSES) * tf.nn.log_softmax(logits)
        known = tf.nn.softmax(logits[:4])
        raw = tf.nn.softmax(every[8:12]) * tf.reduce_sum(known, 0)
        raw /= tf.reduce_sum(tf.nn.softmax(every[8:12]), 0)
        sure = tf.stop_gradient(raw / tf.norm(raw, ord=1, axis=1, keepdims=True))
        counts = tf.reduce_max(sure, 1) >= tf.reduce_sum(tf.reduce_max(known, 1)) * TAU / 4.0
        told = tf.where(counts[:, None], sure * tf.nn.log_softmax(every[12:]), 0.0)
        half = np.pi * tf.minimum(0.5, passed / STEPS)
        return -tf.reduce_sum(right) / 4.0 - tf.sin(half) ** 2 * tf.reduce_sum(told) / 4.0

    views, labels = tf.TensorSpec((4, 5)), tf.TensorSpec((4,), tf.int64)
    return Case(
        step,
        (views, views, labels, views, views),
        {
            "objective": adapted,
            "optimizer": keras.optimizers.Adam(0.03),
            "watched": "model/*",
            "statistics": "model/*moving*",
            "clipping": None,
        },
    )
