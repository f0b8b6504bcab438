"""Labels that a step makes rows of itself, in any spelling, under `CategoricalCrossentropy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.grids import grid
from tests.verify.steps import Asked

CLASSES = 3
EYE = tf.eye(CLASSES)
Make = Callable[[Any], Any]


def compared(y: Any, begin: int = 0) -> Any:
    return tf.cast(tf.equal(y[:, None], tf.range(begin, begin + CLASSES)), tf.float32)


ONE_HOT: dict[str, Make] = {
    "by an op": lambda y: tf.one_hot(y, CLASSES),
    "by Keras": lambda y: keras.ops.one_hot(y, CLASSES),
    "compared": compared,
    "looked up": lambda y: tf.gather(EYE, y),
    "scattered": lambda y: tf.scatter_nd(tf.stack([tf.range(8), y], 1), tf.ones(8), (8, CLASSES)),
}
OTHERS: dict[str, Make] = {
    "of other classes": lambda y: tf.gather(tf.reverse(EYE, [1]), y),
    "one off": lambda y: compared(y, 1),
    "smoothed": lambda y: 0.9 * tf.gather(EYE, y) + 0.1 / CLASSES,
    "of other examples": lambda y: tf.gather(EYE, tf.reverse(y, [0])),
    "up to the class": lambda y: tf.sequence_mask(y + 1, CLASSES, tf.float32),
}


def by_hand(made: Any, prediction: Any) -> Any:
    return -tf.reduce_mean(tf.reduce_sum(made * tf.math.log(prediction), -1))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "an object": keras.losses.CategoricalCrossentropy(),
    "by hand": by_hand,
}


def asked(make: Make, loss: Callable[[Any, Any], Any]) -> Asked:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES, "softmax")])

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(make(y), model(x))
        for v, slope in zip(
            model.trainable_variables, tape.gradient(value, model.trainable_variables), strict=True
        ):
            v.value.assign_sub(0.1 * slope)

    return Asked(train, tf.TensorSpec((8, 4)), tf.TensorSpec((8,), tf.int32), model=model)


@pytest.mark.parametrize(("make", "loss"), grid([*ONE_HOT], [*LOSSES]))
def test_it_is_the_loss_of_these_rows_and_of_the_labels(make: str, loss: str) -> None:
    step = asked(ONE_HOT[make], LOSSES[loss])
    assert not step(loss=keras.losses.CategoricalCrossentropy())
    assert not step(loss=keras.losses.SparseCategoricalCrossentropy())


@pytest.mark.parametrize(("make", "loss"), grid([*OTHERS], [*LOSSES]))
def test_of_other_rows_it_is_neither(make: str, loss: str) -> None:
    step = asked(OTHERS[make], LOSSES[loss])
    assert step(loss=keras.losses.CategoricalCrossentropy())
    assert step(loss=keras.losses.SparseCategoricalCrossentropy())
