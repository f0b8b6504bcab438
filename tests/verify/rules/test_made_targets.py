"""Targets that a step makes of what it is handed: what they decide, and how they are spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify

Made = Callable[[Any], Any]
REALS, CLASSES = tf.TensorSpec((None, 3)), tf.TensorSpec((None,), "int64")
# Each looks at something else in real numbers: how large they are, or their order.
OF_REALS: Mapping[str, Made] = {
    "standardised": lambda y: (y[:, 0] - 3.0) / 2.0,
    "summed": lambda y: tf.reduce_sum(y, -1),
    "the largest": lambda y: tf.cast(tf.argmax(y, -1), tf.float32),
    "in order": lambda y: tf.cast(tf.argsort(y, -1)[:, 0], tf.float32),
    "compared": lambda y: tf.cast(y[:, 0] > y[:, 1], tf.float32),
    "far above": lambda y: tf.cast(y[:, 0] > 100.0, tf.float32),
    "equal": lambda y: tf.cast(tf.equal(y[:, 2], -7.0), tf.float32),
    "a sign": lambda y: tf.sign(y[:, 0]),
    "rounded": lambda y: tf.round(y[:, 0]),
    "a logarithm": lambda y: tf.math.log1p(tf.nn.relu(y[:, 1])),
}
OF_CLASSES: Mapping[str, Made] = {
    "one of many": lambda y: tf.cast(tf.equal(y, 9), tf.float32),
    "the last ones": lambda y: tf.cast(y >= 7, tf.float32),
    "looked up": lambda y: tf.gather(tf.constant([0.5, 0.5, 2.0]), tf.clip_by_value(y, 0, 2)),
}
CASES = [
    *((name, made, REALS) for name, made in OF_REALS.items()),
    *((name, made, CLASSES) for name, made in OF_CLASSES.items()),
]
NOTHING: Mapping[str, Made] = {
    "times zero": lambda y: 0.0 * y[:, 0],
    "of one class": lambda y: tf.nn.softmax(y[:, :1], -1)[:, 0],
    "the whole mean": lambda y: tf.zeros_like(y[:, 0]) * tf.reduce_mean(y),
}


def ids_of(made: Made, targets: tf.TensorSpec, *, alike: bool = True) -> set[str]:
    """The rules that a step breaks; `alike`: whether targets have the shape of predictions."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(network.trainable_variables)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        target = made(y)
        with tf.GradientTape() as tape:
            errors = (target[:, None] if alike else target) - network(x, training=True)
            loss = tf.reduce_mean(errors**2)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)

    return {finding.id for finding in verify.lint(step, tf.TensorSpec((None, 4)), targets)}


@pytest.mark.parametrize(("name", "made", "targets"), CASES, ids=[name for name, *_ in CASES])
def test_they_decide_something(name: str, made: Made, targets: tf.TensorSpec) -> None:
    assert ids_of(made, targets) == set()


@pytest.mark.parametrize("name", NOTHING)
def test_they_decide_nothing(name: str) -> None:
    assert ids_of(NOTHING[name], REALS) == {"V402"}


@pytest.mark.parametrize(("name", "made", "targets"), CASES, ids=[name for name, *_ in CASES])
def test_they_are_spread_over_the_batch(name: str, made: Made, targets: tf.TensorSpec) -> None:
    assert ids_of(made, targets, alike=False) == {"V304"}
