"""Barlow twins: the codes of two views agree, and their features are uncorrelated."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "weight of the rest": "gradient of redundancy\n     found    another gradient: ",
    "diagonal among the rest": "gradient of redundancy\n     found    another gradient: ",
    "rows normalised": "gradient of redundancy\n     found    another gradient: ",
    "not centred": "gradient of redundancy\n     found    another gradient: ",
    "of a view with itself": "draws a random number that the step does not draw (RandomUniform)",
    "one view detached": "gradient of redundancy\n     found    another gradient: ",
    "not divided": "gradient of redundancy\n     found    another gradient: ",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    network = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(3)], name="network"
    )
    weights = network.trainable_variables
    optimizer = built(keras.optimizers.AdamW(1e-3, weight_decay=1e-4), weights)
    weight = 0.05 if wrong == "weight of the rest" else 0.005

    def view(x: Any) -> Any:
        return x * tf.random.uniform(tf.shape(x), 0.6, 1.4)

    def normal(z: Any) -> Any:
        axis = 1 if wrong == "rows normalised" else 0
        mean = tf.reduce_mean(z, axis=axis, keepdims=True)
        deviation = tf.math.reduce_std(z, axis=axis, keepdims=True)
        return (z if wrong == "not centred" else z - mean) / deviation

    @tf.function
    def step(x: Any) -> None:
        one, other = view(x), view(x)
        with tf.GradientTape() as tape:
            a, b = network(one, training=True), network(other, training=True)
            b = a if wrong == "of a view with itself" else b
            b = tf.stop_gradient(b) if wrong == "one view detached" else b
            together = tf.matmul(normal(a), normal(b), transpose_a=True)
            if wrong != "not divided":
                together /= tf.cast(tf.shape(x)[0], tf.float32)
            own = tf.linalg.diag_part(together)
            rest = together
            if wrong != "diagonal among the rest":
                rest = together - tf.linalg.diag(own)
            cost = tf.reduce_sum((own - 1.0) ** 2) + weight * tf.reduce_sum(rest**2)
        optimizer.apply(tape.gradient(cost, weights), weights)

    def redundancy(x: Any) -> Any:
        codes = [network(x * (0.6 + 0.8 * tf.random.uniform((8, 5)))) for _ in range(2)]
        (a, b), total = codes, tf.constant(0.0)
        for i in range(3):
            for j in range(3):
                (m, v), (n, w) = tf.nn.moments(a[:, i], 0), tf.nn.moments(b[:, j], 0)
                covariance = tf.reduce_mean(a[:, i] * b[:, j]) - m * n
                correlation = covariance / tf.sqrt(v * w)
                total += 0.005 * correlation**2 if i != j else (1.0 - correlation) ** 2
        return total

    return Case(
        step,
        (tf.TensorSpec((8, 5)),),
        {
            "objective": redundancy,
            "optimizer": keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
            "watched": "*",
            "clipping": None,
        },
    )
