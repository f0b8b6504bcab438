"""`sample_weight=`: whether weights multiply the loss of each example, however that is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.updates import rejected

STATIC = (tf.TensorSpec((8, 4)), tf.TensorSpec((8, 3)), tf.TensorSpec((8,)))
OPEN = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 3)), tf.TensorSpec((None,)))
MODEL = keras.Sequential(
    [
        keras.Input((4,)),
        keras.layers.Dense(6, activation="tanh", kernel_regularizer="l2"),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(3),
    ]
)
OPTIMIZER = keras.optimizers.SGD(0.1)
OPTIMIZER.build(MODEL.trainable_variables)
MSE = keras.losses.MeanSquaredError()

Weighed = Callable[[Any, Any, Any, Any], Any]
"""Of (y, prediction, weights, the loss of each example)."""

RIGHT: dict[str, Weighed] = {
    "as Keras does": lambda y, p, w, _: MSE(y, p, sample_weight=w),
    "by hand": lambda y, p, w, each: tf.reduce_mean(w * each),
    "a sum": lambda y, p, w, each: tf.reduce_sum(w * each) / 7,
    "as a product": lambda y, p, w, each: tf.tensordot(w, each, 1) / 8,
    "within the square": lambda y, p, w, _: tf.reduce_mean(
        (tf.sqrt(tf.abs(w))[:, None] * (y - p)) ** 2 * tf.sign(w)[:, None]
    ),
}
WRONG: dict[str, tuple[Weighed, str]] = {
    "left out": (
        lambda y, p, w, each: tf.reduce_mean(each),
        "sample weights have no effect on",
    ),
    "divided by their sum": (
        lambda y, p, w, each: tf.reduce_sum(w * each) / tf.reduce_sum(w),
        "twice the weights make the same gradients",
    ),
    "squared": (
        lambda y, p, w, each: tf.reduce_mean(w * w * each),
        "twice the weights make 4 times the gradients",
    ),
    "limited": (
        lambda y, p, w, each: tf.reduce_mean(tf.minimum(w, 1.0) * each),
        "gradients are not linear in the weights",
    ),
    "of one loss of two": (
        lambda y, p, w, each: tf.reduce_mean(w * each) + tf.reduce_mean(tf.abs(y - p)),
        "a loss that is differentiated as well is not multiplied by them",
    ),
    "of others": (
        lambda y, p, w, each: tf.reduce_mean(tf.reverse(w, [0]) * each),
        "the weight of one example multiplies the loss of another one",
    ),
    "their mean": (
        lambda y, p, w, each: tf.reduce_mean(w) * tf.reduce_mean(each),
        "the weight of one example multiplies the loss of another one",
    ),
    "each with each": (
        lambda y, p, w, each: tf.reduce_mean(w[:, None] * each[None]),
        "the weight of one example multiplies the loss of another one",
    ),
}


def step_of(weighed: Weighed) -> Any:
    @tf.function(autograph=False)
    def step(x: Any, y: Any, w: Any) -> None:
        with tf.GradientTape() as tape:
            prediction = MODEL(x, training=True)
            each = tf.reduce_mean((y - prediction) ** 2, axis=-1)
            loss = weighed(y, prediction, w, each) + tf.add_n(MODEL.losses)
        weights = MODEL.trainable_variables
        OPTIMIZER.apply(tape.gradient(loss, weights), weights)

    return step


@pytest.mark.parametrize("how", RIGHT)
def test_a_weight_for_each_example(how: str) -> None:
    step = step_of(RIGHT[how])
    verify.assert_graph(step, *STATIC, model=MODEL, sample_weight=True)
    assert "found    sample weights affect " in rejected(
        step, *STATIC, model=MODEL, sample_weight=False
    )


@pytest.mark.parametrize("specs", [STATIC, OPEN], ids=["static", "open"])
@pytest.mark.parametrize("how", WRONG)
def test_anything_else(how: str, specs: Any) -> None:
    weighed, told = WRONG[how]
    message = rejected(step_of(weighed), *specs, model=MODEL, sample_weight=True)
    assert "1 violation" in message
    assert told in message


TIMED = (tf.TensorSpec((8, 5, 4)), tf.TensorSpec((8, 5, 3)), tf.TensorSpec((8, 5)))
LAYERS = keras.Sequential([keras.Input((5, 4)), keras.layers.Dense(3)])
OPTIMIZER_IN_TIME = keras.optimizers.SGD(0.1)
OPTIMIZER_IN_TIME.build(LAYERS.trainable_variables)


@pytest.mark.parametrize(
    ("turned", "told"),
    [
        (lambda w: w, ""),
        (lambda w: tf.reverse(w, [1]), "the weight of one example multiplies the loss of another"),
        (lambda w: tf.reduce_mean(w, 1, keepdims=True), "the weight of one example multiplies"),
        (lambda w: tf.minimum(w, 5.0), "gradients are not linear in the weights"),
    ],
)
def test_weights_of_time_steps(turned: Any, told: str) -> None:
    @tf.function(autograph=False)
    def step(x: Any, y: Any, w: Any) -> None:
        with tf.GradientTape() as tape:
            each = tf.reduce_mean((y - LAYERS(x, training=True)) ** 2, axis=-1)
            loss = tf.reduce_mean(turned(w) * each)
        weights = LAYERS.trainable_variables
        OPTIMIZER_IN_TIME.apply(tape.gradient(loss, weights), weights)

    if told:
        assert told in rejected(step, *TIMED, sample_weight=True)
    else:
        verify.assert_graph(step, *TIMED, sample_weight=True)


INPUTS = keras.Input((4,))
BOTH = keras.Model(INPUTS, [keras.layers.Dense(1)(INPUTS), keras.layers.Dense(1)(INPUTS)])
OPTIMIZER_OF_BOTH = keras.optimizers.SGD(0.1)
OPTIMIZER_OF_BOTH.build(BOTH.trainable_variables)


@pytest.mark.parametrize(
    ("of", "told"),
    [
        ((0, 1), ""),
        ((1, 0), "the weight of one example multiplies the loss of another one"),
        ((0, 0), "sample weights 1 of 2, from 0, decide nothing"),
    ],
)
def test_weights_of_several_outputs(of: tuple[int, int], told: str) -> None:
    @tf.function(autograph=False)
    def step(x: Any, y: Any, w: Any) -> None:
        with tf.GradientTape() as tape:
            predictions = BOTH(x, training=True)
            loss = sum(
                tf.reduce_mean(w[of[i]] * tf.squeeze(y[i] - predictions[i], -1) ** 2)
                for i in range(2)
            )
        weights = BOTH.trainable_variables
        OPTIMIZER_OF_BOTH.apply(tape.gradient(loss, weights), weights)

    one, weight = tf.TensorSpec((8, 1)), tf.TensorSpec((8,))
    batch = (STATIC[0], (one, one), (weight, weight))
    if told:
        assert told in rejected(step, *batch, sample_weight=True)
    else:
        verify.assert_graph(step, *batch, sample_weight=True)


def test_one_weight_for_all_examples_is_none_of_each() -> None:
    step = step_of(lambda y, p, w, each: w * tf.reduce_mean(each))
    message = rejected(step, *STATIC[:2], tf.TensorSpec(()), model=MODEL, sample_weight=True)
    assert "can't be told: there is one sample weight for the whole batch" in message


def test_left_out_on_purpose() -> None:
    step = step_of(WRONG["left out"][0])
    verify.assert_graph(step, *STATIC, model=MODEL, sample_weight=False)
    assert verify.facts(step, *STATIC, model=MODEL).weighted is False


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        ("mse", tf.TensorSpec((None, 3))),
        ("sparse_categorical_crossentropy", tf.TensorSpec((None, 1), tf.int32)),
    ],
)
def test_of_compiled_models(loss: str, target: Any) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", loss)
    batch = (OPEN[0], target, OPEN[2])
    verify.assert_graph(model, *batch, sample_weight=True)
    assert verify.facts(model, *batch).weighted
    assert "the step is given no sample weights" in rejected(model, *batch[:2], sample_weight=True)
    assert verify.facts(model, *batch[:2]).weighted is None
    with pytest.raises(TypeError, match="neither True nor False"):
        verify.assert_graph(model, *batch, sample_weight=None)
