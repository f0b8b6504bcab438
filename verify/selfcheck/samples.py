"""Small models of the usual kinds, with a batch, a loss and regularisers; and optimizers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

OUTPUTS = 3
_BATCH = 8
_L2 = keras.regularizers.L2(0.01)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A model to train, with what is to be done.

    `y`: (batch, 3) float targets, of rows that sum to one. `regularised`: pairs of a variable and
    its regulariser. `frozen`: trainable variables that are not to be trained.
    """

    model: keras.Model
    x: tf.TensorSpec
    y: tf.TensorSpec
    loss: keras.losses.Loss
    regularised: tuple[tuple[Any, Any], ...]
    frozen: tuple[Any, ...]

    @property
    def trained(self) -> list[Any]:
        excluded = {id(variable) for variable in self.frozen}
        return [v for v in self.model.trainable_variables if id(v) not in excluded]


def _sample(model: keras.Model, shape: tuple[int, ...], loss: keras.losses.Loss) -> Sample:
    """Regularises the first two kernels, freezes the last variable."""
    variables = model.trainable_variables
    kernels = [v for v in variables[:-1] if len(v.shape) > 1 and v.shape[0] > 1][:2]
    return Sample(
        model,
        tf.TensorSpec((_BATCH, *shape)),
        tf.TensorSpec((_BATCH, OUTPUTS)),
        loss,
        tuple((kernel, _L2) for kernel in kernels),
        (variables[-1],),
    )


def dense() -> Sample:
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, "tanh"),
            keras.layers.Dense(5, "relu"),
            keras.layers.Dense(OUTPUTS),
        ]
    )
    return _sample(model, (6,), keras.losses.MeanSquaredError())


def convolutional() -> Sample:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            keras.layers.Conv2D(4, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(4, 3, strides=2),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(OUTPUTS),
        ]
    )
    return _sample(model, (8, 8, 2), keras.losses.CategoricalCrossentropy(from_logits=True))


def recurrent() -> Sample:
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            keras.layers.LSTM(4, return_sequences=True),
            keras.layers.GRU(3),
            keras.layers.Dense(OUTPUTS),
        ]
    )
    return _sample(model, (5, 4), keras.losses.Huber(0.7))


def attention() -> Sample:
    inputs = keras.Input((5, 8))
    attended = keras.layers.MultiHeadAttention(2, 4)(inputs, inputs)
    hidden = keras.layers.LayerNormalization()(inputs + attended)
    outputs = keras.layers.Dense(OUTPUTS, "softmax")(
        keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(6, "gelu")(hidden))
    )
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    return _sample(keras.Model(inputs, outputs), (5, 8), loss)


def arithmetic() -> Sample:
    # Used as by any user: nothing in `verify` depends on these layers.
    from inalu import NALU

    model = keras.Sequential([keras.Input((4,)), NALU(3), keras.layers.Dense(OUTPUTS)])
    return _sample(model, (4,), keras.losses.MeanSquaredError())


KINDS: dict[str, Callable[[], Sample]] = {
    "dense": dense,
    "convolutional": convolutional,
    "recurrent": recurrent,
    "attention": attention,
    "arithmetic": arithmetic,
}

OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(0.1),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.1),
    "AdamW": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.01),
}
