"""`training=`: the mode of each layer, told by the variables that it depends on."""

from __future__ import annotations

import functools
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.updates import rejected

SPECS = (tf.TensorSpec((8, 4)), tf.TensorSpec((8, 2)))


class Centred(keras.layers.Layer):
    """A layer of one's own: subtracts the mean of the batch, or a moving one."""

    def build(self, shape: Any) -> None:
        self.mean = self.add_weight(shape=shape[-1:], trainable=False, name="mean")

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x - self.mean
        mean = keras.ops.mean(x, axis=0)
        self.mean.assign(0.9 * self.mean + 0.1 * mean)
        return x - mean


def model_of() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.Dropout(0.3, name="drop"),
            keras.layers.BatchNormalization(name="norm"),
            Centred(name="own"),
            keras.layers.Dense(2),
        ]
    )


@functools.cache
def step_of(training: bool | None, frozen: bool = False) -> tuple[Any, keras.Model]:
    model, optimizer = model_of(), keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    model.get_layer("norm").trainable = not frozen

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=training) - y) ** 2)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
        model(x, training=True)  # what is not differentiated is in no mode

    return step, model


@pytest.mark.parametrize(("called", "mode"), [(True, True), (False, False), (None, False)])
def test_a_model_is_in_one_mode(called: bool | None, mode: bool) -> None:
    step, model = step_of(called)
    verify.assert_graph(step, *SPECS, model=model, training=mode)
    told = {True: "training", False: "inference"}
    message = rejected(step, *SPECS, model=model, training=not mode)
    assert f"expected drop, sequential/norm, sequential/own in {told[not mode]} mode" in message
    assert f"found    in {told[mode]} mode" in message


def test_layers_by_name_path_or_glob() -> None:
    step, model = step_of(True)
    modes = {"drop": True, "sequential/norm": True, "o?n": True}
    verify.assert_graph(step, *SPECS, model=model, training=modes)
    message = rejected(step, *SPECS, model=model, training={**modes, "norm": False})
    assert "1 violation" in message
    assert "expected sequential/norm in inference mode" in message


def test_frozen_normalisation_infers_as_in_keras() -> None:
    step, model = step_of(True, frozen=True)
    verify.assert_graph(step, *SPECS, model=model, training=True)
    verify.assert_graph(step, *SPECS, model=model, training={"norm": False, "drop": True})
    assert "norm in training mode" in rejected(step, *SPECS, model=model, training={"norm": True})


def test_facts_tell_what_infers() -> None:
    facts = verify.facts(step_of(False)[0], *SPECS, model=step_of(False)[1])
    assert facts.inference == ("drop", "sequential/norm", "sequential/own")
    assert "in inference mode" in str(facts)
    facts = verify.facts(step_of(True)[0], *SPECS, model=step_of(True)[1])
    assert facts.training == ("drop", "sequential/norm", "sequential/own")
    assert not facts.inference


class Block(keras.layers.Layer):
    """A layer of others, with an attribute that Keras' models have as well."""

    def __init__(self) -> None:
        super().__init__(name="block")
        self.layers = [keras.layers.Dense(4)]
        self.drop = keras.layers.Dropout(0.5)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.drop(self.layers[0](x), training=training)


@pytest.mark.parametrize("training", [True, False])
def test_a_mode_that_is_an_argument_of_the_step(training: bool) -> None:
    """What Python hands a step is a constant of its trace; layers of layers are told as one."""
    model = keras.Sequential([keras.Input((4,)), Block(), keras.layers.Dense(2)])
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(x: Any, y: Any, training: bool) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=training) - y) ** 2)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)

    verify.assert_graph(step, *SPECS, training, model=model, training=training)
    told = rejected(step, *SPECS, training, model=model, training=not training)
    assert "block" in told


def test_what_can_not_be_told_is_said() -> None:
    step, _ = step_of(True)
    assert "the model is not known: pass model=" in rejected(step, *SPECS, training=True)
    other = model_of()
    told = "what is differentiated does not depend on the model"
    assert told in rejected(step, *SPECS, model=other, training=True)


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"nrm": True}, ValueError, "Did you mean norm"),
        ({"dense": True}, ValueError, "matches no layer of the model whose mode matters"),
        (None, TypeError, "expected True, False or a dict"),
        ({"norm": 1}, TypeError, "is not a mode"),
    ],
)
def test_what_is_asked_is_checked(asked: Any, error: type[Exception], told: str) -> None:
    step, model = step_of(True)
    with pytest.raises(error, match=told):
        verify.assert_graph(step, *SPECS, model=model, training=asked)


# -- noise from no state ---------------------------------------------------------------------------


class Noise(keras.layers.Layer):
    """Adds noise that is drawn without the state of a seed."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x + 0.1 * tf.random.normal(tf.shape(x)) if training else x


class Dropped(keras.layers.Layer):
    """Dropout by TensorFlow, by the state of a generator that Keras knows nothing of."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.generator = tf.random.Generator.from_seed(1)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        return tf.where(self.generator.uniform(tf.shape(x)) < 0.5, 0.0, 2.0 * x)


@functools.cache
def noisy_step(noise: bool, drop: bool, beside: bool = False) -> tuple[Any, keras.Model]:
    """A step of two layers that draw, each in a mode; `beside`: other noise is added by hand."""
    dense = [keras.layers.Dense(6), keras.layers.Dense(2)]
    layers = [Noise(name="noise"), dense[0], Dropped(name="drop"), dense[1]]
    model, optimizer = keras.Sequential([keras.Input((4,)), *layers]), keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> Any:
        x += 0.2 * tf.random.normal(tf.shape(x)) if beside else 0.0
        with tf.GradientTape() as tape:
            hidden = dense[0](layers[0](x, training=noise))
            made = dense[1](layers[2](hidden, training=drop))
            loss = tf.reduce_mean((made - y) ** 2)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)

    return step, model


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(("noise", "drop"), [(True, True), (False, False), (True, False)])
def test_noise_from_no_state(noise: bool, drop: bool, beside: bool) -> None:
    step, model = noisy_step(noise, drop, beside)
    traced = verify.trace(step, *SPECS, model=model)
    verify.assert_graph(traced, training={"noise": noise, "drop": drop})
    for layer, mode in (("noise", noise), ("drop", drop)):
        assert layer in rejected(traced, training={layer: not mode})
    for mode in (True, False):
        if {noise, drop} == {mode}:
            verify.assert_graph(traced, training=mode)
        else:
            rejected(traced, training=mode)
