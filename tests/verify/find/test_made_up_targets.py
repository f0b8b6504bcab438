"""Targets that no batch holds: the ones and zeros that a discriminator is trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras import layers, losses, optimizers

import verify
from tests.grids import grid

BCE = losses.BinaryCrossentropy(from_logits=True)
MSE = losses.MeanSquaredError()


def apart(real: Any, fake: Any) -> Any:
    return BCE(tf.ones_like(real), real) + BCE(tf.zeros_like(fake), fake)


def together(real: Any, fake: Any) -> Any:
    targets = tf.concat([tf.ones_like(real), tf.zeros_like(fake)], axis=0)
    return BCE(targets, tf.concat([real, fake], axis=0))


def adversarial(
    of_discriminator: Callable[[Any, Any], Any], of_generator: Callable[[Any], Any]
) -> Any:
    """A step that trains a generator and a discriminator, by a loss of predictions each."""
    generator = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    critic = keras.Sequential([keras.Input((3,)), layers.Dense(4, "relu"), layers.Dense(1)])
    mine, its = optimizers.Adam(), optimizers.Adam()
    mine.build(generator.trainable_variables)
    its.build(critic.trainable_variables)

    @tf.function
    def train(real: Any) -> None:
        noise = tf.random.stateless_normal((tf.shape(real)[0], 2), (1, 2))
        with tf.GradientTape(persistent=True) as tape:
            fake = generator(noise)
            discriminated = of_discriminator(critic(real), critic(fake))
            generated = of_generator(critic(fake))
        for loss, model, optimizer in ((discriminated, critic, its), (generated, generator, mine)):
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)

    return train


MADE_UP: list[tuple[Any, Any, list[Any]]] = [
    (apart, lambda fake: BCE(tf.ones_like(fake), fake), [BCE, BCE, BCE]),
    (apart, lambda fake: BCE(0.9 * tf.ones_like(fake), fake), [BCE, BCE, BCE]),
    (apart, lambda fake: MSE(tf.ones_like(fake), fake), [BCE, BCE, MSE]),
    (together, lambda fake: BCE(tf.ones_like(fake), fake), [BCE, BCE]),
]


@pytest.mark.parametrize(("made_up", "size"), grid(MADE_UP, [8, None]))
def test_made_up_targets(made_up: tuple[Any, Any, list[Any]], size: int | None) -> None:
    of_discriminator, of_generator, expected = made_up
    train, real = adversarial(of_discriminator, of_generator), tf.TensorSpec((size, 3))
    verify.assert_graph(train, real, loss=expected, watched="*")
    for wrong in (expected[1:], [*expected[:-1], losses.Hinge()], [*expected, BCE]):
        with pytest.raises(verify.GraphAssertionError, match="loss"):
            verify.assert_graph(train, real, loss=wrong)


def test_what_is_given_as_one_dict_is_no_target() -> None:
    critic = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    generator = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    optimizer = optimizers.SGD()
    optimizer.build(generator.trainable_variables)

    @tf.function
    def train(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            fake = critic(generator(batch["noise"]))
            loss = BCE(tf.ones_like(fake), fake)
        variables = generator.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return critic(batch["real"])

    batch = {"noise": tf.TensorSpec((8, 2)), "real": tf.TensorSpec((8, 3))}
    verify.assert_graph(train, batch, loss=BCE)


def test_constants_of_a_fixed_size() -> None:
    train = adversarial(apart, lambda fake: BCE(tf.ones((8, 1)), fake))
    verify.assert_graph(train, tf.TensorSpec((8, 3)), loss=[BCE, BCE, BCE])


def test_a_target_that_is_fed_is_not_made_up() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    optimizer = optimizers.SGD()
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            prediction = model(x)
            loss = MSE(tf.ones_like(prediction), prediction)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return y

    with pytest.raises(verify.GraphAssertionError, match="another data loss"):
        verify.assert_graph(train, tf.TensorSpec((8, 3)), tf.TensorSpec((8, 1)), loss=MSE)
