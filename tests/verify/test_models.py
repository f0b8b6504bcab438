"""Verdicts on Keras' own train step, over kinds of models nobody here wrote."""

from __future__ import annotations

from collections.abc import Callable

import keras
import pytest
import tensorflow as tf
from keras import layers

import verify


def sequential(
    *stack: keras.layers.Layer, features: tuple[int, ...], dtype: str = "float32"
) -> keras.Model:
    return keras.Sequential([keras.Input(features, dtype=dtype), *stack, layers.Dense(1)])


def attention() -> keras.Model:
    inputs = keras.Input((5, 4))
    hidden = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(inputs, inputs))
    return keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(hidden)))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "convolution": lambda: sequential(
        layers.Conv2D(4, 3, kernel_regularizer="l2"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),
        layers.Flatten(),
        features=(8, 8, 3),
    ),
    "attention": attention,
    "lstm": lambda: sequential(layers.LSTM(3), features=(5, 4)),
    "gru": lambda: sequential(layers.GRU(3, unroll=True), features=(5, 4)),
    "embedding": lambda: sequential(
        layers.Embedding(10, 3), layers.Flatten(), features=(5,), dtype="int32"
    ),
    # Constants of one that are part of the forward pass start no backward pass.
    "ones": lambda: sequential(
        layers.Dense(3), layers.Lambda(lambda x: x * tf.ones_like(x) + tf.ones([])), features=(5,)
    ),
}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("kind", MODELS)
def test_correct_steps_pass(kind: str, optimizer: str) -> None:
    model = MODELS[kind]()
    model.compile(optimizer, "mse", metrics=["mae"])
    x = tf.TensorSpec((8, *model.input_shape[1:]), model.inputs[0].dtype)
    verify.assert_graph(
        model,
        (x, tf.TensorSpec((8, 1))),
        loss="mse",
        watched="*",
        regularization=1 if kind == "convolution" else 0,
        clipping=None,
    )


def test_several_outputs_with_a_loss_each() -> None:
    inputs = keras.Input((4,))
    hidden = layers.Dense(3)(inputs)
    model = keras.Model(inputs, [layers.Dense(1)(hidden), layers.Dense(2)(hidden)])
    model.compile("adam", ["mse", "mae"])
    batch = (tf.TensorSpec((8, 4)), (tf.TensorSpec((8, 1)), tf.TensorSpec((8, 2))))
    verify.assert_graph(model, batch, loss=["mse", "mae"], watched="*")
    with pytest.raises(verify.GraphAssertionError, match="mae of"):
        verify.assert_graph(model, batch, loss="mse")


def test_the_weights_of_the_losses_of_several_outputs() -> None:
    inputs = keras.Input((4,))
    hidden = layers.Dense(3)(inputs)
    model = keras.Model(inputs, [layers.Dense(1)(hidden), layers.Dense(2)(hidden)])
    model.compile("adam", ["mse", "mae"], loss_weights=[1.0, 0.5])
    batch = (tf.TensorSpec((8, 4)), (tf.TensorSpec((8, 1)), tf.TensorSpec((8, 2))))
    verify.assert_graph(model, batch, loss=["mse", ("mae", 0.5)])
    with pytest.raises(
        verify.GraphAssertionError, match=r"mae with weight 1\n.*found    weight 0.5"
    ):
        verify.assert_graph(model, batch, loss=["mse", "mae"])
    with pytest.raises(verify.GraphAssertionError, match=r"with weight 2\n.*found    weight 0.5"):
        verify.assert_graph(model, batch, loss=[("mae", 2), "mse"])


def test_mixed_precision() -> None:
    policy = "mixed_float16"
    model = sequential(
        layers.Dense(3, kernel_regularizer="l2", dtype=policy),
        layers.Activation("linear", dtype="float32"),
        features=(4,),
    )
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    model.compile(optimizer, "mse")
    verify.assert_graph(
        model,
        (tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1))),
        loss="mse",
        watched="*",
        regularization=1,
    )
