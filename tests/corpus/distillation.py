"""Distillation: a student learns from labels and from softened answers of a frozen teacher."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "teacher trained": "found    the gradient of something else: distilled does not depend on them",
    "temperature not squared": "gradient of distilled\n     found    another gradient: student/",
    "teacher not softened": "gradient of distilled\n     found    another gradient: student/",
    "divergence the other way": "gradient of distilled\n     found    another gradient: student/",
    "weights exchanged": "gradient of distilled\n     found    another gradient: student/",
    "applied twice": "optimizer: expected each update as by SGD(learning_rate=0.05, momentum=0.9)",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    teacher = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(3)], name="teacher"
    )
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="student")
    weights = student.trainable_variables
    if wrong == "teacher trained":
        weights = weights + teacher.trainable_variables
    optimizer = built(keras.optimizers.SGD(0.05, momentum=0.9), weights)
    hard = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    soft = keras.losses.KLDivergence()
    alpha = 0.9 if wrong == "weights exchanged" else 0.1
    heat = 3.0

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            answers = teacher(x, training=False)
            logits = student(x, training=True)
            if wrong == "teacher not softened":
                given = tf.nn.softmax(answers)
            else:
                given = tf.nn.softmax(answers / heat)
            taken = tf.nn.softmax(logits / heat)
            if wrong == "divergence the other way":
                given, taken = taken, given
            apart = soft(given, taken)
            if wrong != "temperature not squared":
                apart *= heat**2
            cost = alpha * hard(y, logits) + (1.0 - alpha) * apart
        found = tape.gradient(cost, weights)
        for _ in range(2 if wrong == "applied twice" else 1):
            optimizer.apply(found, weights)

    def distilled(x: Any, y: Any) -> Any:
        logits = student(x)
        chosen = tf.reduce_sum(tf.one_hot(y, 3) * tf.nn.log_softmax(logits), -1)
        wanted = tf.stop_gradient(tf.nn.softmax(teacher(x) / 3.0))
        told = tf.reduce_sum(wanted * tf.nn.log_softmax(logits / 3.0), -1)
        return -tf.reduce_mean(0.1 * chosen + 8.1 * told)

    return Case(
        step,
        (tf.TensorSpec((None, 4)), tf.TensorSpec((None,), tf.int64)),
        {
            "objective": distilled,
            "optimizer": keras.optimizers.SGD(0.05, momentum=0.9),
            "watched": "student/*",
            "unchanged": "teacher/*",
            "clipping": None,
        },
    )
