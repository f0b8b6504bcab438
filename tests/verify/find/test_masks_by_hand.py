"""Masked means that are written by hand: as Keras makes them of a prediction with a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf
import tf_keras

from tests.verify.steps import Asked

Mean = Callable[[Any, Any], Any]
"""Of the losses of examples, and of which of them count."""


def number(counts: Any) -> Any:
    return tf.cast(counts, tf.float32)


MEANS: dict[str, Mean] = {
    "a maximum": lambda one, m: (
        tf.reduce_sum(one * number(m)) / tf.maximum(tf.reduce_sum(number(m)), 1e-7)
    ),
    "divided": lambda one, m: tf.math.divide_no_nan(
        tf.reduce_sum(one * number(m)), tf.reduce_sum(number(m))
    ),
    "chosen": lambda one, m: tf.reduce_sum(tf.where(m, one, 0.0)) / tf.reduce_sum(number(m)),
    "left": lambda one, m: tf.reduce_mean(tf.boolean_mask(one, m)),
}
OTHERS: dict[str, Mean] = {
    "of all": lambda one, m: tf.reduce_mean(one * number(m)),
    "a sum": lambda one, m: tf.reduce_sum(one * number(m)),
    "the others": lambda one, m: tf.reduce_sum(one * (1.0 - number(m))) / tf.reduce_sum(number(m)),
    "twice": lambda one, m: MEANS["divided"](one, m) + tf.reduce_mean(one),
    "small": lambda one, m: tf.reduce_sum(one * (0.5 + number(m))) / tf.reduce_sum(number(m)),
}
COUNTS: dict[str, Callable[[Any], Any]] = {
    "no padding": lambda x: tf.not_equal(x, 0),
    "some words": lambda x: tf.logical_and(x > 2, x < 7),
}
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "mse": lambda y, p: tf.reduce_mean(tf.square(y - p), -1),
    "mae": lambda y, p: tf.reduce_mean(tf.abs(p - y), -1),
    "binary_crossentropy": lambda y, p: keras.losses.binary_crossentropy(y, tf.sigmoid(p)),
}


def step(mean: Mean, counts: Callable[[Any], Any], loss: str, size: int | None = 8) -> Asked:
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            keras.layers.Embedding(9, 3),
            keras.layers.Dense(2),
        ]
    )
    sgd = keras.optimizers.SGD(0.1)
    sgd.build(model.trainable_variables)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            value = mean(LOSSES[loss](y, model(x)), counts(x))
        weights = [v.value for v in model.trainable_variables]
        sgd.apply(tape.gradient(value, weights), model.trainable_variables)

    specs = tf.TensorSpec((size, 6), tf.int32), tf.TensorSpec((size, 6, 2))
    return Asked(train, *specs, model=model)


@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("mean", MEANS)
def test_a_mean_of_what_counts(mean: str, counts: str, loss: str) -> None:
    for size in (8, None):
        asked = step(MEANS[mean], COUNTS[counts], loss, size)
        assert not asked(loss=loss)
        assert asked(loss="mae" if loss == "mse" else "mse")


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("mean", OTHERS)
def test_what_is_no_such_mean(mean: str, counts: str) -> None:
    assert step(OTHERS[mean], COUNTS[counts], "mse")(loss="mse")


def test_masks_of_keras_2() -> None:
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.InputLayer((6,), dtype="int32"),
            layers.Embedding(9, 3, mask_zero=True),
            layers.Dense(2, name="unit"),
        ]
    )
    model.compile("sgd", "mse")
    asked = Asked(model, tf.TensorSpec((8, 6), tf.int32), tf.TensorSpec((8, 6, 2)))
    assert not asked(loss="mse")
    assert asked(loss="mae")
