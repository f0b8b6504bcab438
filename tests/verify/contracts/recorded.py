"""A training step, and others that mean the same or another thing, for records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

BATCH = (tf.TensorSpec((6, 4)), tf.TensorSpec((6, 1)))


def made(
    optimizer: Any = None,
    loss: Callable[[Any, Any], Any] = lambda y, p: tf.reduce_mean(tf.square(y - p)),
    training: bool = True,
    noise: Callable[[Any], Any] = tf.zeros_like,
    name: str = "adam",
    trained: slice = slice(None),
) -> Any:
    """The step of a small model, and its batch."""
    layers = [
        keras.layers.Dense(3, "tanh", name="hidden"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(1, name="head"),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    weights = model.trainable_variables[trained]
    optimizer = optimizer or keras.optimizers.Adam(name=name)
    optimizer.build(weights)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            cost = loss(y, model(x + noise(x), training=training))
        optimizer.apply(tape.gradient(cost, weights), weights)
        return cost

    return step, *BATCH


def base() -> Any:
    return made()


def renamed() -> Any:
    return made(name="Adam_7")


def spelled() -> Any:
    return made(loss=lambda y, p: tf.reduce_sum((p - y) * (p - y)) / 6.0)


def rate() -> Any:
    return made(keras.optimizers.Adam(0.01))


def epsilon() -> Any:
    return made(keras.optimizers.Adam(epsilon=1e-3))


def slightly() -> Any:
    return made(keras.optimizers.Adam(epsilon=2e-7))


def weighted() -> Any:
    return made(loss=lambda y, p: 0.5 * tf.reduce_mean(tf.square(y - p)))


def mode() -> Any:
    return made(training=False)


def frozen() -> Any:
    return made(trained=slice(2, None))


def noisy() -> Any:
    return made(noise=lambda x: tf.random.normal((6, 4)))


def noisier() -> Any:
    return made(noise=lambda x: tf.random.normal((6, 4)) + tf.random.normal((6, 1)))


def called() -> Any:
    def of_python(y: Any, p: Any) -> Any:
        return tf.reduce_mean(y - p) * tf.ensure_shape(tf.py_function(float, [1.0], tf.float32), ())

    return made(loss=of_python)


def scheduled(boundary: int = 20_000) -> Any:
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([boundary], [1e-3, 1e-4])
    return made(keras.optimizers.Adam(schedule))


def later() -> Any:
    return scheduled(20_001)


def longer() -> Any:
    step, _, _ = base()
    return step, tf.TensorSpec((7, 4)), tf.TensorSpec((7, 1))
