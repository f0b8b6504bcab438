"""DP-SGD: the gradient of each example is clipped, and noise is added to their sum."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

BOUND, NOISE = 0.5, 1.1
FAULTS = {
    "whole batch clipped": "gradient of private\n     found    another gradient: ",
    "not clipped": "gradient of private\n     found    another gradient: ",
    "another bound": "gradient of private\n     found    another gradient: ",
    "each variable by its norm": "gradient of private\n     found    another gradient: ",
    "no noise": "draws a random number that the step does not draw (RandomStandardNormal)",
    "noise for each example": "it draws random numbers of shape (3, 4), the step of (4, 2)",
    "noise not by the bound": "gradient of private\n     found    another gradient: ",
    "summed": "gradient of private\n     found    4 times that: ",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(2)], name="model"
    )
    weights = model.trainable_variables
    optimizer = built(keras.optimizers.SGD(0.15), weights)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    bound = 1.5 if wrong == "another bound" else BOUND

    def clipped(found: Any) -> Any:
        """Gradients of single examples, each of them no longer than the bound."""
        squares = [tf.reduce_sum(tf.reshape(g, (4, -1)) ** 2, axis=1) for g in found]
        if wrong != "each variable by its norm":
            squares = [tf.add_n(squares)] * len(squares)
        shares = [tf.minimum(1.0, bound / (tf.sqrt(square) + 1e-12)) for square in squares]
        return [
            g * tf.reshape(share, (4, *(1,) * (g.shape.rank - 1)))
            for g, share in zip(found, shares, strict=True)
        ]

    def noise(gradient: Any) -> Any:
        spread = NOISE if wrong == "noise not by the bound" else NOISE * bound
        return tf.random.normal(tf.shape(gradient), stddev=spread)

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            losses = crossentropy(y, model(x, training=True))
        found = tape.jacobian(losses, weights)
        if wrong == "whole batch clipped":
            found, _ = tf.clip_by_global_norm([tf.reduce_sum(g, axis=0) for g in found], bound)
        else:
            found = found if wrong == "not clipped" else clipped(found)
            if wrong == "noise for each example":
                found = [g + noise(g) for g in found]
            found = [tf.reduce_sum(g, axis=0) for g in found]
        if wrong not in ("no noise", "noise for each example"):
            found = [g + noise(g) for g in found]
        optimizer.apply(found if wrong == "summed" else [g / 4.0 for g in found], weights)

    def private(x: Any, y: Any) -> Any:
        total = tf.constant(0.0)
        for i in range(4):
            with tf.GradientTape() as tape:
                logits = model(x[i : i + 1])[0]
                one = tf.reduce_logsumexp(logits) - tf.gather(logits, y[i])
            size = tf.linalg.global_norm(tape.gradient(one, weights))
            total += one / tf.stop_gradient(tf.maximum(1.0, size / BOUND))
        for weight in weights:
            drawn = NOISE * BOUND * tf.random.normal(weight.shape)
            total += tf.reduce_sum(drawn * weight)
        return total / 4.0

    return Case(
        step,
        (tf.TensorSpec((4, 3)), tf.TensorSpec((4,), tf.int64)),
        {
            "objective": private,
            "optimizer": keras.optimizers.SGD(0.15),
            "watched": "*",
        },
    )
