"""Formulas of train steps: read off the graph, they say what was written."""

from __future__ import annotations

import importlib
import re
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense
from tests.verify.steps import step as training

# As one would write them on a whiteboard, per backward pass.
CORPUS = {
    "wgan_gp": [
        "mean(critic(b)) - mean(critic(real)) + 10 * mean((norm(d critic(a)/d a, axis=(-3, -2, "
        "-1)) - 1)^2) where a = real + uniform() * (b - real), b = generator(normal())",
        "-mean(critic(generator(normal())))",
    ],
    "dcgan": [
        "BinaryCrossentropy(from_logits=True)(1, discriminator(generator(normal())))",
        "BinaryCrossentropy(from_logits=True)(0.9, discriminator(real)) + "
        "BinaryCrossentropy(from_logits=True)(0, discriminator(generator(normal())))",
    ],
    "ddpg": [
        "MeanSquaredError(reward + (0.99 - 0.99 * done) * target_critic(concat(after, "
        "target_actor(after))), critic(concat(state, action)))",
        "-mean(critic(concat(state, actor(state))))",
    ],
    "dqn": [
        "Huber(reward + (0.99 - 0.99 * done) * max(target(after), axis=-1), "
        "sum(online(state) * one_hot(action, 2, 1, 0), axis=-1))",
    ],
    "triplets": [
        "mean(max(sum((a - network(like))^2, axis=-1) - sum((a - network(stranger))^2, axis=-1) "
        "+ 0.5, 0)) where a = network(anchor)",
    ],
}


@pytest.mark.parametrize("step", CORPUS)
def test_steps_as_sites_teach_them(step: str) -> None:
    case = importlib.import_module(f"tests.corpus.{step}").case()
    facts = verify.facts(case.step, *case.batch)
    assert [one.formula for one in facts.objectives] == CORPUS[step]
    for line in CORPUS[step]:
        assert " ".join(line.split()) in " ".join(str(facts).split())


def formulas_of(cost: Any, *specs: Any) -> list[str]:
    """What is told of a step that differentiates ``cost(model, x, y)``."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="net")
    weights = model.trainable_variables
    optimizer = keras.optimizers.SGD()
    optimizer.build(weights)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            value = cost(model, x, y)
        optimizer.apply(tape.gradient(value, weights), weights)

    return [one.formula for one in verify.facts(step, *(specs or batch())).objectives]


def mean_and_penalty(model: Any, x: Any, y: Any) -> Any:
    return tf.reduce_mean(tf.math.expm1(model(x) - y)) + 0.5 * tf.reduce_sum(model(-x))


@pytest.mark.parametrize(
    ("cost", "formula"),
    [
        (mean_and_penalty, "mean(exp(net(x) - y) - 1) + 0.5 * sum(net(-x))"),
        (lambda m, x, y: -tf.reduce_mean(m(x)), "-mean(net(x))"),
        (
            lambda m, x, y: tf.reduce_mean(tf.stop_gradient(y - m(x)) * m(x)),
            "mean(stop_gradient(y - net(x)) * net(x))",
        ),
        (
            lambda m, x, y: tf.reduce_sum(m(x[:4, ::2] @ tf.ones((2, 4)))),
            "sum(net(x[:4, ::2] @ constant))",
        ),
        (
            lambda m, x, y: 3.0 * keras.losses.MeanSquaredError()(y, m(x)),
            "3 * MeanSquaredError(y, net(x))",
        ),
        (
            lambda m, x, y: keras.losses.MeanSquaredError()(y, m(x)) + tf.nn.l2_loss(m.weights[0]),
            "MeanSquaredError(y, net(x)) + 0.5 * sum(net/dense/kernel^2)",
        ),
    ],
)
def test_what_is_differentiated(cost: Any, formula: str) -> None:
    (told,) = formulas_of(cost)
    assert without_numbers(told) == formula


def test_batches_of_any_size() -> None:
    (told,) = formulas_of(
        lambda m, x, y: keras.losses.Huber(2.0)(tf.math.expm1(y), m(x)), *batch(None)
    )
    assert told == "Huber(delta=2.0)(exp(y) - 1, net(x))"


def test_a_violation_tells_the_formula_of_what_is_there() -> None:
    train = training(dense(), lambda y, p: tf.reduce_mean(tf.math.expm1(tf.abs(y - p))))
    with pytest.raises(verify.GraphAssertionError, match=r"mean\(exp\(abs\(y - sequential"):
        verify.assert_graph(train, *batch(), loss="mse")


def test_losses_of_logits_and_with_settings_have_names() -> None:
    labels = tf.TensorSpec((8,), tf.int32)
    crossentropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    for loss, target, outputs, named in (
        (
            lambda y, p: tf.reduce_mean(crossentropy(y, p)),
            labels,
            3,
            "SparseCategoricalCrossentropy(from_logits=True)",
        ),
        (
            lambda y, p: tf.reduce_mean(
                tf.where(tf.abs(y - p) <= 2.0, 0.5 * (y - p) ** 2, 2.0 * tf.abs(y - p) - 2.0)
            ),
            tf.TensorSpec((8, 1)),
            1,
            "Huber(delta=2.0)",
        ),
    ):
        train = training(dense(outputs=outputs), loss)
        (fact,) = verify.facts(train, tf.TensorSpec((8, 4)), target).losses
        assert (fact.name, fact.weight) == (named, 1.0)


def without_numbers(formula: str) -> str:
    """Without what Keras numbers layers with."""
    return re.sub(r"(dense)_\d+", r"\1", formula)


CROSSENTROPY = keras.losses.CategoricalCrossentropy()


@pytest.mark.parametrize(
    ("last", "loss", "formula"),
    [
        ("softmax", lambda y, p: tf.reduce_mean((p - y) ** 2), "MeanSquaredError(y, net(x))"),
        (
            None,
            lambda y, p: tf.reduce_mean((tf.nn.softmax(p) - y) ** 2),
            "MeanSquaredError(y, softmax(net(x)))",
        ),
        ("sigmoid", keras.losses.Huber(), "Huber(y, net(x))"),
        ("softmax", CROSSENTROPY, "CategoricalCrossentropy(y, net(x))"),
        (
            None,
            lambda y, p: CROSSENTROPY(y, tf.nn.softmax(p)),
            "CategoricalCrossentropy(y, softmax(net(x)))",
        ),
    ],
)
def test_an_activation_before_a_loss_is_told(last: Any, loss: Any, formula: str) -> None:
    parts = [keras.layers.Dense(5, "tanh"), keras.layers.Dense(3, last)]
    net = keras.Sequential([keras.Input((4,)), *parts], name="net")
    weights = [v.value for v in net.trainable_variables]

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(y, net(x))
        for weight, gradient in zip(weights, tape.gradient(value, weights), strict=True):
            weight.assign_sub(0.1 * gradient)

    (one,) = verify.facts(step, tf.TensorSpec((None, 4)), tf.TensorSpec((None, 3))).objectives
    assert one.formula == formula
