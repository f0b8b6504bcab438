"""SAM: the gradient is taken where the loss nearby is highest, and applied to the weights."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "no ascent": "gradient of sharpest\n     found    another gradient: ",
    "downhill": "gradient of sharpest\n     found    another gradient: ",
    "radius": "gradient of sharpest\n     found    another gradient: ",
    "each by its own norm": "gradient of sharpest\n     found    another gradient: ",
    "not normalised": "gradient of sharpest\n     found    another gradient: ",
    "not taken back": "optimizer: expected each update as by SGD(learning_rate=0.1, momentum=0.9)",
    "first gradient": "gradient of sharpest\n     found    another gradient: ",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)], name="model"
    )
    weights = model.trainable_variables
    optimizer = built(keras.optimizers.SGD(0.1, momentum=0.9), weights)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    radius = 0.5 if wrong == "radius" else 0.05
    radius = -radius if wrong == "downhill" else radius

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            cost = crossentropy(y, model(x, training=True))
        first = tape.gradient(cost, weights)
        norm = tf.linalg.global_norm(first)
        if wrong == "each by its own norm":
            climbs = [radius * g / (tf.norm(g) + 1e-12) for g in first]
        elif wrong == "not normalised":
            climbs = [radius * g for g in first]
        else:
            climbs = [radius * g / (norm + 1e-12) for g in first]
        before = [tf.identity(weight) for weight in weights]
        for weight, climb in zip(weights, climbs, strict=True):
            if wrong != "no ascent":
                weight.assign_add(climb)
        with tf.GradientTape() as tape:
            cost = crossentropy(y, model(x, training=True))
        second = tape.gradient(cost, weights)
        for weight, value in zip(weights, before, strict=True):
            if wrong != "not taken back":
                weight.assign(value)
        optimizer.apply(first if wrong == "first gradient" else second, weights)

    def loss(y: Any, logits: Any) -> Any:
        chosen = tf.reduce_sum(tf.one_hot(y, 3) * logits, -1)
        return tf.reduce_mean(tf.reduce_logsumexp(logits, -1) - chosen)

    def sharpest(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            here = loss(y, model(x))
        slopes = tape.gradient(here, weights)
        size = tf.sqrt(tf.add_n([tf.reduce_sum(slope**2) for slope in slopes]))
        there = [
            weight + tf.stop_gradient(0.05 / size * slope)
            for weight, slope in zip(weights, slopes, strict=True)
        ]
        return loss(y, model.stateless_call(there, [], x)[0])

    return Case(
        step,
        (tf.TensorSpec((6, 4)), tf.TensorSpec((6,), tf.int64)),
        {
            "objective": sharpest,
            "optimizer": keras.optimizers.SGD(0.1, momentum=0.9),
            "watched": "*",
            "clipping": None,
        },
    )
