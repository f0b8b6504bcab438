"""That a model adds no losses is told without calling it, and only where a call adds none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from verify.references.added_losses import may_add_losses, model_call

layers = keras.layers


class Penalised(layers.Dense):
    def call(self, inputs: Any, training: bool | None = None) -> Any:
        self.add_loss(tf.reduce_mean(self.kernel**4))
        return super().call(inputs, training=training)


class Cell(layers.Layer):
    """A cell with an argument that it does not write down."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size = units

    def call(self, inputs: Any, states: Any) -> Any:
        return states[0], states


class Model(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        self.add_loss(tf.reduce_mean(inputs))
        return self.dense(inputs)


def chain(*of: Any) -> keras.Model:
    return keras.Sequential([keras.Input((4, 3)), *of])


def attention(**settings: Any) -> keras.Model:
    inputs = keras.Input((4, 3))
    return keras.Model(inputs, layers.MultiHeadAttention(2, 2, **settings)(inputs, inputs))


NONE: dict[str, Callable[[], keras.Model]] = {
    "layers": lambda: chain(layers.Dense(2, "gelu"), layers.BatchNormalization(), layers.Flatten()),
    "recurrent": lambda: chain(layers.Bidirectional(layers.LSTM(2)), layers.RepeatVector(2)),
    "cell": lambda: chain(layers.RNN([layers.GRUCell(2), layers.LSTMCell(2)])),
    "within": lambda: chain(layers.TimeDistributed(chain(layers.Dense(2)).layers[0])),
    "attention": attention,
    "models": lambda: chain(keras.Sequential([layers.Dense(2), layers.Dropout(0.1)])),
    "arithmetic": lambda: keras.Model(i := keras.Input((4, 3)), keras.ops.sum(i) + 1.0),
}
SOME: dict[str, Callable[[], keras.Model]] = {
    "weights": lambda: chain(layers.Dense(2, kernel_regularizer="l2")),
    "activity": lambda: chain(layers.Dense(2, activity_regularizer="l2")),
    "a layer for that": lambda: chain(layers.ActivityRegularization(l2=0.1), layers.Dense(2)),
    "bidirectional": lambda: chain(layers.Bidirectional(layers.LSTM(2, bias_regularizer="l1"))),
    "cell": lambda: chain(layers.RNN([layers.GRUCell(2, kernel_regularizer="l1")])),
    "attention": lambda: attention(kernel_regularizer="l2"),
    "models": lambda: chain(keras.Sequential([layers.Dense(2, bias_regularizer="l2")])),
    "one's own layer": lambda: chain(Penalised(2)),
    "one's own within": lambda: chain(layers.TimeDistributed(Penalised(2))),
    "one's own model": Model,
}


@pytest.mark.parametrize("name", NONE)
def test_what_adds_none(name: str) -> None:
    model = NONE[name]()
    assert not may_add_losses(model)
    assert model_call(model, tf.TensorSpec((8, 4, 3))).added == ()


@pytest.mark.parametrize("name", SOME)
def test_what_adds_some(name: str) -> None:
    model = SOME[name]()
    assert model_call(model, tf.TensorSpec((8, 4, 3))).added
    assert may_add_losses(model)


def test_what_does_not_tell_may() -> None:
    cell = Cell(2)
    assert cell.state_size == 2
    assert may_add_losses(chain(layers.RNN(cell)))
