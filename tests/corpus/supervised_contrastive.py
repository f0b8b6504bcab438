"""Supervised contrast: images of one class are closer to one another than to all others."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "temperature": "gradient of contrast\n     found    another gradient: ",
    "compared with itself": "gradient of contrast\n     found    another gradient: ",
    "other classes drawn near": "gradient of contrast\n     found    another gradient: ",
    "not normalised": "gradient of contrast\n     found    another gradient: ",
    "logarithm of the mean": "gradient of contrast\n     found    another gradient: ",
    "summed": "gradient of contrast\n     found    6 times that: ",
    "encoder frozen": "missing:  encoder/",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    encoder = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "relu")], name="encoder")
    projection = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="projection")
    weights = projection.trainable_variables
    if wrong != "encoder frozen":
        weights = encoder.trainable_variables + weights
    optimizer = built(keras.optimizers.Adam(1e-3), weights)
    heat = 0.5 if wrong == "temperature" else 0.1

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            code = projection(encoder(x, training=True), training=True)
            if wrong != "not normalised":
                code = tf.math.l2_normalize(code, axis=1)
            alike = tf.matmul(code, code, transpose_b=True) / heat
            own = tf.eye(tf.shape(x)[0])
            others = tf.ones_like(alike) if wrong == "compared with itself" else 1.0 - own
            same = tf.cast(y[:, None] == y[None, :], tf.float32)
            same = 1.0 - same if wrong == "other classes drawn near" else same - own
            among = tf.reduce_sum(tf.exp(alike) * others, axis=1, keepdims=True)
            many = tf.reduce_sum(same, axis=1)
            if wrong == "logarithm of the mean":
                near = tf.reduce_sum(same * tf.exp(alike) / among, axis=1)
                each = -tf.math.log(tf.math.divide_no_nan(near, many) + 1e-12)
            else:
                chances = alike - tf.math.log(among)
                each = -tf.math.divide_no_nan(tf.reduce_sum(same * chances, axis=1), many)
            cost = tf.reduce_sum(each) if wrong == "summed" else tf.reduce_mean(each)
        optimizer.apply(tape.gradient(cost, weights), weights)

    def contrast(x: Any, y: Any) -> Any:
        code = projection(encoder(x))
        code /= tf.norm(code, axis=1, keepdims=True)
        total = tf.constant(0.0)
        for i in range(6):
            others = [j for j in range(6) if j != i]
            alike = 10.0 * tf.linalg.matvec(tf.gather(code, others), code[i])
            same = tf.cast(tf.gather(y, others) == y[i], tf.float32)
            missed = tf.reduce_sum(same * (tf.reduce_logsumexp(alike) - alike))
            total += missed / tf.maximum(tf.reduce_sum(same), 1.0)
        return total / 6.0

    return Case(
        step,
        (tf.TensorSpec((6, 5)), tf.TensorSpec((6,), tf.int64)),
        {
            "objective": contrast,
            "optimizer": keras.optimizers.Adam(1e-3),
            "watched": "*",
            "clipping": None,
        },
    )
