"""Twins of the rules about regularisers, random numbers and averages."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.verify.rules.twin import BATCH, MSE, Make, Target, Twins, by_hand, compiled, network


def penalised(times: float) -> Make:
    def make() -> Target:
        net = network(kernel_regularizer="l2")
        if not times:
            return by_hand(net)
        return by_hand(net, loss=lambda y, p: MSE(y, p) + times * tf.add_n(net.losses))

    return make


def penalised_by_hand(times: float) -> Make:
    def make() -> Target:
        net = network()
        kernel = net.get_layer("hidden").kernel.value
        return by_hand(
            net, loss=lambda y, p: MSE(y, p) + times * 0.01 * tf.reduce_sum(kernel * kernel)
        )

    return make


def penalised_again() -> Target:
    net = network(kernel_regularizer="l2")
    return by_hand(net, loss=lambda y, p: tf.add_n([MSE(y, p), *net.losses]) + tf.add_n(net.losses))


def penalised_in_turn() -> Target:
    """Two passes, one after the other, each with the penalty once."""
    net = network(kernel_regularizer="l2")
    weights = net.trainable_variables

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        for half in (slice(4), slice(4, 8)):
            with tf.GradientTape() as tape:
                value = tf.add_n([MSE(y[half], net(x[half])), *net.losses])
            for weight, gradient in zip(weights, tape.gradient(value, weights), strict=True):
                weight.assign_sub(0.1 * gradient)

    return Target(step, BATCH, net)


def noisy(noise: Any) -> Make:
    return lambda: by_hand(call=lambda model, x: model(x + noise(), training=True))


GENERATOR = keras.random.SeedGenerator(3)
SEED = tf.Variable([1, 2], trainable=False)


class Counting(keras.Model):
    """Keras' own step of a layer that NumPy draws for while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.head = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(x + np.random.default_rng().normal(size=(4,)).astype("float32"))


def traced_draw() -> Target:
    net = Counting()
    net.build((None, 4))
    return compiled(net)


def averaged(keep: float, take: float, trained: bool = False) -> Make:
    """A slow copy of a network that follows it."""

    def make() -> Target:
        fast, slow = network(), network()

        def after() -> None:
            for one, other in zip(slow.trainable_variables, fast.trainable_variables, strict=True):
                one.assign(keep * one + take * other)

        if not trained:
            return by_hand(fast, after=after)
        both = [*fast.trainable_variables, *slow.trainable_variables]
        made = by_hand(
            fast, after=after, call=lambda m, x: m(x) + slow(x), variables=lambda _: both
        )
        return dataclasses.replace(made, model=None)

    return make


def normalised(momentum: float) -> Make:
    return lambda: compiled(network(keras.layers.BatchNormalization(momentum=momentum)))


class Evaluating(keras.Model):
    """A model that is evaluated in training mode, or not."""

    def __init__(self, training: bool) -> None:
        super().__init__()
        self.norm, self.head, self.mode = (
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
            training,
        )

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(self.norm(x, training=training))

    def test_step(self, data: Any) -> Any:
        x, y = data
        return {"loss": self.compute_loss(x, y, self(x, training=self.mode))}


def evaluated(training: bool) -> Make:
    def make() -> Target:
        net = Evaluating(training)
        net.build((None, 4))
        net.compile("sgd", "mse")
        return Target(net.test_step, (BATCH,))

    return make


TWINS = (
    Twins("V501", penalised(1.0), (penalised(0.0),)),
    Twins("V502", lambda: compiled(network(kernel_regularizer="l2")), (penalised(2.0),)),
    Twins("V502", penalised_in_turn, (penalised_again,)),
    Twins("V503", penalised_by_hand(1.0), (penalised_by_hand(-1.0), penalised(-1.0))),
    Twins(
        "V601",
        noisy(lambda: keras.random.normal((8, 4), seed=GENERATOR)),
        (
            noisy(lambda: keras.random.normal((8, 4), seed=3)),
            noisy(lambda: tf.random.stateless_normal((8, 4), SEED)),
        ),
    ),
    Twins(
        "V602",
        noisy(lambda: tf.random.normal((8, 4))),
        (
            noisy(lambda: np.random.default_rng().normal(size=(8, 4)).astype("float32")),
            traced_draw,
        ),
    ),
    Twins("V701", normalised(0.9), (normalised(1.0), averaged(1.0, 0.0))),
    Twins("V702", averaged(0.9, 0.1), (averaged(0.9, 0.1, trained=True),)),
    Twins("V703", averaged(0.99, 0.01), (averaged(0.99, 0.1), averaged(0.9, 0.01))),
    Twins("V704", evaluated(training=False), (evaluated(training=True),)),
)
