"""Models and steps that faults are planted in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.faults.fault import Trial

LAYERS = keras.layers
SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
MSE = keras.losses.MeanSquaredError()
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CHANCES = keras.losses.SparseCategoricalCrossentropy()
BINARY = keras.losses.BinaryCrossentropy(from_logits=True)

CLASSES = tf.TensorSpec((8, 4)), tf.TensorSpec((8,), "int32")
NUMBERS = tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1))
ONE_HOT = tf.TensorSpec((8, 4)), tf.TensorSpec((8, 3))
WEIGHED = *NUMBERS, tf.TensorSpec((8,))
IMAGES = tf.TensorSpec((8, 6, 6, 1)), tf.TensorSpec((8,), "int32")
SERIES = tf.TensorSpec((8, 5, 4)), tf.TensorSpec((8,), "int32")
WORDS = tf.TensorSpec((8, 5), "int32"), tf.TensorSpec((8,), "int32")


# -- models ----------------------------------------------------------------------------------------


def dense(
    outputs: int = 3,
    head: Any = None,
    hidden: Any = "relu",
    between: Sequence[Any] = (),
    head_bias: bool = True,
    **said: Any,
) -> keras.Sequential:
    """4-5-outputs; `said` to the hidden layer."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            LAYERS.Dense(5, hidden, name="hidden", **said),
            *between,
            LAYERS.Dense(outputs, head, use_bias=head_bias, name="head"),
        ],
        name="net",
    )


def regression(head: Any = None, **said: Any) -> keras.Sequential:
    """4-5-1."""
    return dense(1, head, **{"hidden": "tanh", **said})


def cnn(
    outputs: int = 3,
    head: Any = None,
    activation: Any = "relu",
    norm: Any = None,
    normalised: bool = True,
    drop: float = 0.0,
    size: int = 3,
    bias: bool = False,
    **said: Any,
) -> keras.Sequential:
    """Convolution, normalisation, pooling, dropout, classes; `said` to the convolution."""
    after = [LAYERS.BatchNormalization(name="norm") if norm is None else norm] if normalised else []
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            LAYERS.Conv2D(4, size, padding="same", use_bias=bias, name="conv", **said),
            *after,
            LAYERS.Activation(activation, name="act"),
            LAYERS.MaxPooling2D(),
            LAYERS.Flatten(),
            *([LAYERS.Dropout(drop, name="drop")] if drop else []),
            LAYERS.Dense(outputs, head, name="head"),
        ],
        name="cnn",
    )


def recurrent(outputs: int = 3, head: Any = None, **said: Any) -> keras.Sequential:
    """An LSTM over five moments; `said` to it."""
    lstm = LAYERS.LSTM(4, name="lstm", **said)
    layers = [keras.Input((5, 4)), lstm, LAYERS.Dense(outputs, head, name="head")]
    return keras.Sequential(layers, name="rnn")


def text(masked: bool = True, **said: Any) -> keras.Sequential:
    """Words of a vocabulary of nine, of which 0 is padding."""
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            LAYERS.Embedding(9, 4, mask_zero=masked, name="words", **said),
            LAYERS.GlobalAveragePooling1D(),
            LAYERS.Dense(3, name="head"),
        ],
        name="text",
    )


def backbone(frozen: bool = True, **said: Any) -> keras.Sequential:
    """A pretrained base with normalisation, and a new head."""
    layers = [
        keras.Input((4,)),
        LAYERS.Dense(5, use_bias=False, name="features"),
        LAYERS.BatchNormalization(name="norm"),
        LAYERS.ReLU(),
    ]
    base = keras.Sequential(layers, name="base")
    base.trainable = not frozen
    return keras.Sequential(
        [keras.Input((4,)), base, LAYERS.Dense(3, name="head", **said)], name="tuned"
    )


# -- steps -----------------------------------------------------------------------------------------


def fitted(
    model: keras.Model,
    loss: Any = LOGITS,
    optimizer: Any = "adam",
    batch: tuple[Any, ...] = CLASSES,
    **said: Any,
) -> Trial:
    """A model under Keras' own train step."""
    model.compile(optimizer, loss, **said)
    return Trial(model, (batch,), model)


def taped(
    model: keras.Model,
    loss: Callable[..., Any] = LOGITS,
    optimizer: Any = None,
    batch: tuple[Any, ...] = CLASSES,
    *,
    predict: Callable[[Any, Any], Any] = lambda model, x: model(x, training=True),
    penalty: Callable[[Any], Any] = lambda model: 0.0,
    variables: Callable[[Any], list[Any]] = lambda model: model.trainable_variables,
    built_for: Callable[[Any], list[Any]] | None = None,
    scale: Callable[[Any], Any] = lambda value: value,
    treat: Callable[[list[Any]], list[Any]] = lambda gradients: gradients,
    apply: Callable[[Any, list[Any], list[Any]], Any] = lambda by, g, v: by.apply(g, v),
    after: Callable[[Any], Any] = lambda model: None,
) -> Trial:
    """A step with a tape, in pieces of which a fault replaces one."""
    by = SGD(0.1) if optimizer is None else optimizer
    trained = variables(model)
    by.build((built_for or variables)(model))

    @tf.function(autograph=False)
    def step(x: Any, y: Any, *weights: Any) -> Any:
        with tf.GradientTape() as tape:
            value = scale(loss(y, predict(model, x), *weights) + penalty(model))
        gradients = tape.gradient(value, [v.value for v in trained])
        apply(by, treat(gradients), trained)
        after(model)
        return value

    return Trial(step, batch, model)


def descend(gradients: Sequence[Any], variables: Sequence[Any], rate: Any = 0.1) -> None:
    """Gradient descent by hand."""
    for gradient, variable in zip(gradients, variables, strict=True):
        variable.assign_sub(rate * gradient)


# -- data ------------------------------------------------------------------------------------------


def numbers(scale_x: float = 1.0, scale_y: float = 1.0) -> tuple[Any, Any]:
    """64 examples of a linear task, of this size."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype("float32")
    y = x @ np.array([[1.0], [-2.0], [0.5], [0.0]], "float32")
    return scale_x * x, scale_y * y


def classes(scale: float = 1.0) -> tuple[Any, Any]:
    """64 examples of three classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype("float32")
    return scale * x, np.argmax(x[:, :3], axis=1).astype("int32")


def series() -> tuple[Any, Any]:
    """64 short series of three classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 5, 4)).astype("float32")
    return x, np.argmax(x[:, 0, :3], axis=1).astype("int32")


def images(scale: float = 1.0) -> tuple[Any, Any]:
    """64 small images of three classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, size=64).astype("int32")
    x = rng.normal(size=(64, 6, 6, 1)) + y[:, None, None, None]
    return (scale * x).astype("float32"), y
