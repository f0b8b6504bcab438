"""`objective=`: what arguments and random numbers are, and what enters the optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense
from tests.verify.updates import rejected

# -- what arguments are ---------------------------------------------------------------------------


def trained_by(loss: Callable[..., Any], weight: Any) -> Any:
    """A step on a loss of the weight and the arguments."""

    @tf.function
    def train(*args: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(weight, *args)
        weight.assign_sub(0.1 * tape.gradient(value, weight))

    return train


@pytest.mark.parametrize("by_op", ["the step", "the function"])
def test_labels_are_rows_of_probabilities(by_op: str) -> None:
    """The op of TensorFlow takes them to add up to one: its gradient is another one else."""
    weight = tf.Variable(tf.ones((3, 2)), name="weight")

    def op(weight: Any, x: Any, y: Any) -> Any:
        mixed = 0.3 * y + 0.7 * tf.reverse(y, [0])
        each = tf.nn.softmax_cross_entropy_with_logits(mixed, tf.matmul(x, weight))
        return tf.reduce_mean(each)

    def formula(weight: Any, x: Any, y: Any, share: float = 0.3) -> Any:
        chances = tf.nn.log_softmax(tf.matmul(x, weight))
        mixed = share * y + (1.0 - share) * y[::-1]
        return -tf.reduce_sum(mixed * chances) / 4.0

    specs = tf.TensorSpec((4, 3)), tf.TensorSpec((4, 2))
    losses = (op, formula) if by_op == "the step" else (formula, op)
    train = trained_by(losses[0], weight)
    verify.assert_graph(train, *specs, objective=lambda x, y: losses[1](weight, x, y))
    if by_op == "the step":
        told = rejected(train, *specs, objective=lambda x, y: formula(weight, x, y, 0.4))
        assert "another gradient: weight" in told


def test_whole_numbers_are_labels_of_two_classes() -> None:
    """Of others, two spellings of a crossentropy make different things."""
    weight = tf.Variable(tf.ones((3, 1)), name="weight")

    def chosen(weight: Any, x: Any, y: Any) -> Any:
        chance = tf.sigmoid(tf.matmul(x, weight))
        return -tf.reduce_mean(tf.math.log(tf.where(tf.equal(y, 1), chance, 1.0 - chance)))

    def weighed(weight: Any, x: Any, y: Any) -> Any:
        chance, label = tf.sigmoid(tf.matmul(x, weight)), tf.cast(y, tf.float32)
        each = label * tf.math.log(chance) + (1.0 - label) * tf.math.log(1.0 - chance)
        return -tf.reduce_mean(each)

    args = tf.TensorSpec((8, 3)), tf.TensorSpec((8, 1), tf.int32)
    for one, other in ((chosen, weighed), (weighed, chosen)):
        step = trained_by(one, weight)
        verify.assert_graph(step, *args, objective=lambda x, y, o=other: o(weight, x, y))


def test_bounds_that_few_examples_meet() -> None:
    """Nothing tells one margin from another but examples that lie between the two."""
    weight = tf.Variable([1.0, -2.0], name="weight")

    def hinge(weight: Any, x: Any, margin: float = 0.5) -> Any:
        return tf.reduce_mean(tf.nn.relu(margin - tf.linalg.matvec(x, weight) ** 2))

    train = trained_by(hinge, weight)
    spec = tf.TensorSpec((6, 2))
    verify.assert_graph(train, spec, objective=lambda x: hinge(weight, x))
    for margin in (0.4, 0.7):
        told = rejected(train, spec, objective=lambda x, m=margin: hinge(weight, x, m))
        assert "another gradient: weight" in told


# -- what is made of gradients after they were taken -----------------------------------------------


@pytest.mark.parametrize("spread", [0.3, 0.2])
def test_noise_that_is_added_to_a_gradient(spread: float) -> None:
    """A function may say what enters the optimizer: noise is the slope of a product."""
    weight = tf.Variable([1.0, -2.0], name="weight")
    sgd = keras.optimizers.SGD(0.1)
    sgd.build([weight])

    def loss(x: Any, y: Any) -> Any:
        return tf.reduce_mean((tf.linalg.matvec(x, weight) - y) ** 2)

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            here = loss(x, y)
        slope = tape.gradient(here, weight)
        sgd.apply([slope + tf.random.normal((2,), stddev=0.3)], [weight])

    def noisy(x: Any, y: Any) -> Any:
        return loss(x, y) + tf.reduce_sum(spread * tf.random.normal([2]) * weight)

    specs = tf.TensorSpec((5, 2)), tf.TensorSpec((5,))
    if spread == 0.3:
        verify.assert_graph(train, *specs, objective=noisy)
    else:
        assert "found    another gradient: weight" in rejected(train, *specs, objective=noisy)


def test_why_nothing_can_be_told_is_said_of_the_first_draw() -> None:
    """Later ones have more classes than there are: labels beyond them are no reason."""
    weight = tf.Variable(tf.ones((3, 2)), name="weight")

    def loss(x: Any, y: Any) -> Any:
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(y, tf.matmul(x, weight))
        return tf.reduce_mean(each)

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            here = loss(x, y)
        weight.assign_sub(0.1 * tape.gradient(here, weight))

    def noisy(x: Any, y: Any) -> Any:
        return loss(x + tf.random.normal((4, 3)), y)

    specs = tf.TensorSpec((4, 3)), tf.TensorSpec((4,), tf.int32)
    told = rejected(train, *specs, objective=noisy)
    assert "it draws a random number that the step does not draw (RandomStandardNormal)" in told


# -- what can't be told ----------------------------------------------------------------------------


def test_words_can_not_be_told() -> None:
    """What reads strings is computed nowhere but in the step."""
    model = dense()

    @tf.function(autograph=False)
    def train(words: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = objective(words, y)
        weights = [v.value for v in model.trainable_variables]
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(0.1 * gradient)

    def objective(words: Any, y: Any) -> Any:
        return tf.reduce_mean((model(tf.strings.to_number(words)) - y) ** 2)

    def other(words: Any, y: Any) -> Any:
        return tf.reduce_mean(tf.abs(model(tf.strings.to_number(words)) - y))

    specs = tf.TensorSpec((8, 4), tf.string), tf.TensorSpec((8, 1))
    verify.assert_graph(train, *specs, objective=objective)  # by its ops
    assert "there are no draws of string" in rejected(train, *specs, objective=other)


def test_gradients_that_are_all_zero_tell_nothing() -> None:
    weight = tf.Variable(1.0, name="weight")

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.nn.relu(-1e9 - tf.abs(x * weight - y)))
        weight.assign_sub(tape.gradient(loss, weight))

    def other(x: Any, y: Any) -> Any:
        return tf.reduce_sum(tf.nn.relu(-1e8 - (x * weight - y) ** 2))

    told = rejected(train, *batch(features=1), objective=other)
    assert "can't be told: all gradients are zero" in told
