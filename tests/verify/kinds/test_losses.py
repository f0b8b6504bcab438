"""What a loss is multiplied by, and how it is told."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step

MSE, MAE = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()


def test_a_variable_may_be_the_weight_of_a_loss() -> None:
    weight = keras.Variable(0.5, trainable=False, name="annealed")
    other = keras.Variable(0.5, trainable=False, name="other")
    model = dense()
    train = step(model, lambda y, p: weight * MSE(y, p))
    verify.assert_graph(train, *batch(), model=model, loss=(MSE, weight))
    for wrong, told in [(1.0, "a weight that annealed decides"), (other, "with weight other")]:
        with pytest.raises(verify.GraphAssertionError, match=told):
            verify.assert_graph(train, *batch(), model=model, loss=(MSE, wrong))


def test_a_share_of_a_variable_is_another_weight() -> None:
    weight = tf.Variable(0.5, trainable=False, name="annealed")
    model = dense()
    train = step(model, lambda y, p: 0.9 * weight * MSE(y, p))
    with pytest.raises(verify.GraphAssertionError, match="a weight that annealed decides"):
        verify.assert_graph(train, *batch(), model=model, loss=(MSE, weight))
    constant = step(model, lambda y, p: 0.5 * MSE(y, p))
    with pytest.raises(verify.GraphAssertionError, match=r"found    weight 0\.5"):
        verify.assert_graph(constant, *batch(), model=model, loss=(MSE, weight))


@pytest.mark.parametrize("size", [8, None])
def test_a_vector_is_differentiated_as_its_sum(size: int | None) -> None:
    """That is what a tape does with one, and rarely what was meant."""
    model = dense()
    train = step(model, keras.losses.mean_squared_error)
    verify.assert_graph(train, *batch(size), loss=keras.losses.MeanSquaredError(reduction="sum"))
    told = "its sum over the batch" if size else "reaches the update"
    with pytest.raises(verify.GraphAssertionError, match=told):
        verify.assert_graph(train, *batch(size), loss="mse")


OF_EACH = {
    "crossentropy": lambda y, p: tf.nn.sigmoid_cross_entropy_with_logits(y, p),
    "of classes": lambda y, p: tf.nn.softmax_cross_entropy_with_logits(tf.concat([y, 1 - y], 1), p),
    "by keras": keras.losses.mean_squared_error,
    "absolute": lambda y, p: tf.abs(y - p),
}


@pytest.mark.parametrize("size", [8, None])
@pytest.mark.parametrize("kind", OF_EACH)
def test_the_sum_of_a_loss_of_each_example_is_no_mean(kind: str, size: int | None) -> None:
    loss, model = OF_EACH[kind], dense(outputs=2 if kind == "of classes" else 1)
    mean = step(model, lambda y, p: tf.reduce_mean(loss(y, p)))
    verify.assert_graph(mean, *batch(size), loss=loss)
    for added in (step(model, lambda y, p: tf.reduce_sum(loss(y, p))), step(model, loss)):
        with pytest.raises(verify.GraphAssertionError, match="loss: expected"):
            verify.assert_graph(added, *batch(size), loss=loss)


def critic(kind: str) -> Any:
    linear = {
        "mean": lambda y, p: -tf.reduce_mean(p),
        "signed": lambda y, p: tf.reduce_mean(y * p),
        "by sample": lambda y, p: p[:, 0],
    }
    return linear[kind]


@pytest.mark.parametrize("size", [8, None])
@pytest.mark.parametrize("kind", ["mean", "signed", "by sample"])
def test_a_critic_may_ignore_its_target(kind: str, size: int | None) -> None:
    model = dense()
    model.compile("sgd", critic(kind))
    verify.assert_graph(model, batch(size), loss=critic(kind))
    other = critic("signed" if kind == "mean" else "mean")
    with pytest.raises(verify.GraphAssertionError, match="loss"):
        verify.assert_graph(model, batch(size), loss=other)


def test_a_constant_gradient_within_a_loss_is_no_critic() -> None:
    """The mean of a square begins with the constant that a critic's gradient is all of."""
    train = step(dense(), lambda y, p: tf.reduce_mean((y - p) ** 2))
    for args in (batch(), batch(None)):
        with pytest.raises(verify.GraphAssertionError, match="loss"):
            verify.assert_graph(train, *args, loss=critic("mean"))


def test_what_follows_the_model_is_no_prediction() -> None:
    """Crossentropy of logits, of what is no logit any more."""
    bce = keras.losses.BinaryCrossentropy(from_logits=True)
    crossentropy = tf.nn.sigmoid_cross_entropy_with_logits
    model = dense(outputs=3)
    right = step(model, lambda y, z: tf.reduce_mean(tf.nn.softplus(z) - y * z))
    # Keras itself would look behind the sigmoid, and be right.
    twice = step(model, lambda y, z: tf.reduce_mean(crossentropy(y, tf.sigmoid(z))))
    verify.assert_graph(right, *batch(outputs=3), model=model, loss=bce)
    with pytest.raises(verify.GraphAssertionError, match="loss"):
        verify.assert_graph(twice, *batch(outputs=3), model=model, loss=bce)


def test_a_part_of_a_prediction_is_none() -> None:
    model = dense(outputs=3)
    first = step(model, lambda y, p: MSE(y[:, :1], p[:, :1]))
    with pytest.raises(verify.GraphAssertionError, match="loss"):
        verify.assert_graph(first, *batch(outputs=3), model=model, loss=MSE)
