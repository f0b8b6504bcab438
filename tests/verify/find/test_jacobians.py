"""Gradients by ``tape.jacobian``: of one loss, they are those of ``tape.gradient``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense

MSE, MAE = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()
# What is differentiated, and what is taken of each jacobian.
WAYS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "scalar": (lambda loss: loss, lambda jacobian: jacobian),
    "vector": (lambda loss: loss[tf.newaxis], lambda jacobian: jacobian[0]),
    "matrix": (lambda loss: tf.reshape(loss, (1, 1)), lambda jacobian: jacobian[0, 0]),
}


def by_jacobian(model: keras.Model, way: str, factor: float = 1.0) -> Any:
    weights = [variable.value for variable in model.trainable_variables]
    given, taken = WAYS[way]

    @tf.function(autograph=False)
    def train(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = given(factor * MSE(y, model(x)))
        for weight, jacobian in zip(weights, tape.jacobian(loss, weights), strict=True):
            weight.assign_sub(0.1 * taken(jacobian))

    return train


@pytest.mark.parametrize("way", WAYS)
def test_a_jacobian_of_one_loss_is_its_gradient(way: str) -> None:
    train = verify.trace(by_jacobian(dense(), way), *batch(8))
    verify.assert_graph(train, loss=MSE, watched="*", clipping=None, learning_rate=0.1)
    with pytest.raises(verify.GraphAssertionError, match=r"found +MeanSquaredError of"):
        verify.assert_graph(train, loss=MAE)
    with pytest.raises(verify.GraphAssertionError, match=r"found +MeanSquaredError of"):
        verify.assert_graph(train, loss=None)


def test_another_weight_is_told() -> None:
    train = by_jacobian(dense(), "vector", 0.5)
    with pytest.raises(verify.GraphAssertionError, match=r"weight 0\.5"):
        verify.assert_graph(train, *batch(8), loss=MSE)
