"""Verdicts on Keras' own train step, over kinds of models nobody here wrote."""

from __future__ import annotations

import re
from collections.abc import Callable

import keras
import pytest
import tensorflow as tf
from keras import layers

import verify
from tests.grids import grid
from verify.assertions import Expectation
from verify.step import capture


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


@pytest.mark.parametrize(("kind", "optimizer"), grid([*MODELS], ["adam", "sgd"]))
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
    with pytest.raises(verify.GraphAssertionError, match="MeanAbsoluteError of"):
        verify.assert_graph(model, batch, loss="mse")


@pytest.mark.parametrize("size", [8, None])
def test_one_loss_for_outputs_of_several_widths(size: int | None) -> None:
    inputs = keras.Input((4,))
    hidden = layers.Dense(3)(inputs)
    model = keras.Model(inputs, [layers.Dense(1)(hidden), layers.Dense(3)(hidden)])
    model.compile("adam", ["mse", "mse"])
    targets = (tf.TensorSpec((size, 1)), tf.TensorSpec((size, 3)))
    batch = (tf.TensorSpec((size, 4)), targets)
    verify.assert_graph(model, batch, loss=["mse", "mse"])
    for wrong in ("mse", ["mse", "mae"], ["mse", "mse", "mse"]):
        with pytest.raises(verify.GraphAssertionError, match="loss"):
            verify.assert_graph(model, batch, loss=wrong)


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


MASKED: dict[str, Callable[[], keras.Model]] = {
    "masking": lambda: sequential(layers.Masking(), features=(5, 2)),
    "embedding": lambda: sequential(
        layers.Embedding(11, 4, mask_zero=True),
        layers.LSTM(3, return_sequences=True),
        features=(5,),
        dtype="int32",
    ),
    "each step": lambda: sequential(
        layers.Masking(), layers.TimeDistributed(layers.Dense(3)), features=(5, 2)
    ),
}


# Keras 3.8 itself can't trace that layer with a mask in a batch of any size.
SIZED = [
    (kind, size) for kind in MASKED for size in (8, None) if (kind, size) != ("each step", None)
]


@pytest.mark.parametrize(("masked", "weighted"), grid(SIZED, [False, True]), ids=str)
def test_a_loss_heeds_the_mask_of_a_prediction(
    masked: tuple[str, int | None], weighted: bool
) -> None:
    """Keras passes the mask along by itself: nobody names it, and the loss is still that loss."""
    kind, size = masked
    model = MASKED[kind]()
    model.compile("adam", "mse", metrics=["accuracy"])
    x = tf.TensorSpec((size, *model.input_shape[1:]), model.inputs[0].dtype)
    weights = [tf.TensorSpec((size, 1))] if weighted else []
    # Traced once: of a model, `assert_graph` takes a new trace each time.
    step = capture(model, (x, tf.TensorSpec((size, 5, 1)), *weights))
    assert Expectation.of({"loss": "mse", "watched": "*"}).violations(step) == []
    for other in ("mae", keras.losses.MeanSquaredError(reduction="sum")):
        told = "\n".join(map(str, Expectation.of({"loss": other}).violations(step)))
        assert re.search(r"MeanSquaredError|weight 0\.025", told)


def test_a_mask_is_made_from_the_batch() -> None:
    """Truth values that the weights decide are no mask: the loss would be another one."""
    model = sequential(features=(5, 2))
    loss = keras.losses.MeanSquaredError()

    def train(x: tf.Tensor, y: tf.Tensor, chosen: bool) -> None:
        with tf.GradientTape() as tape:
            prediction = model(x)
            prediction._keras_mask = (prediction if chosen else y)[..., 0] > 0
            value = loss(y, prediction)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(value, variables), variables)

    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    batch = (tf.TensorSpec((8, 5, 2)), tf.TensorSpec((8, 5, 1)))
    verify.assert_graph(tf.function(lambda x, y: train(x, y, False)), *batch, loss=loss)
    with pytest.raises(verify.GraphAssertionError, match="another data loss"):
        verify.assert_graph(tf.function(lambda x, y: train(x, y, True)), *batch, loss=loss)


def test_a_lambda_as_a_loss() -> None:
    model = sequential(features=(4,))

    def fourth(target: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean((target - prediction) ** 4, axis=-1)

    loss = lambda target, prediction: fourth(target, prediction)  # noqa: E731 - what is tested
    model.compile("sgd", loss)
    verify.assert_graph(model, (tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1))), loss=loss)
