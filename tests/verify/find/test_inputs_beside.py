"""A step's second argument is no target if layers take it: a GAN is handed real data and noise."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify

BATCH = tf.TensorSpec((8, 2)), tf.TensorSpec((8, 4))
LOSSES = {
    "entropy": keras.losses.BinaryCrossentropy(from_logits=True),
    "least squares": keras.losses.MeanSquaredError(),
    "smoothed": keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2),
}


def critics_step(loss: Any, *, with_fake: bool = True, of_noise: bool = False) -> Any:
    """A critic that learns that real is 1 (or what `of_noise` says), and that fake is 0."""
    generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="generator")
    critic = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(1)], name="critic"
    )
    optimizer = keras.optimizers.SGD(0.1)

    @tf.function
    def step(real: tf.Tensor, noise: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            fake, judged = generator(noise), critic(real)
            target = noise[:, :1] if of_noise else tf.ones_like(judged)
            total = loss(target, judged)
            if with_fake:
                judged = critic(fake)
                total += loss(tf.zeros_like(judged), judged)
            total += 0.0 * tf.reduce_sum(fake)
        weights = critic.trainable_variables
        optimizer.apply(tape.gradient(total, weights), weights)

    return step


@pytest.mark.parametrize("with_fake", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_targets_of_one_number_are_known(name: str, with_fake: bool) -> None:
    step = verify.trace(critics_step(LOSSES[name], with_fake=with_fake), *BATCH)
    verify.assert_graph(step, loss=[LOSSES[name]] * (1 + with_fake))
    told = {fact.name for fact in verify.facts(step).losses}
    assert "loss without a name" not in told
    assert not told & {"CategoricalHinge", "Hinge"}
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(step, loss=[keras.losses.MeanAbsoluteError()] * (1 + with_fake))


def test_a_target_that_is_an_input_as_well_is_one() -> None:
    step = verify.trace(critics_step(keras.losses.MeanSquaredError(), of_noise=True), *BATCH)
    verify.assert_graph(step, loss=["mse", "mse"])
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(step, loss=["mse", "mae"])


def test_what_no_layer_takes_is_a_target_that_was_forgotten() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="net")
    optimizer = keras.optimizers.SGD(0.1)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            prediction = model(x)
            total = loss(tf.ones_like(y[:, :1]), prediction)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(total, weights), weights)

    with pytest.raises(verify.GraphAssertionError) as raised:
        verify.assert_graph(step, *BATCH, loss=loss)
    (violation,) = raised.value.violations
    assert "sigmoid_crossentropy(1, net(x))" in violation.found
