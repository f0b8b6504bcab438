"""`draws=`: whether random numbers are others in every step, however they are drawn."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from tests.verify.updates import rejected

SPECS = (tf.TensorSpec((8, 4)), tf.TensorSpec((8, 2)))
MODEL = keras.Sequential(
    [keras.Input((4,)), keras.layers.Dense(6), keras.layers.Dropout(0.3), keras.layers.Dense(2)]
)
OPTIMIZER = keras.optimizers.SGD(0.1)
OPTIMIZER.build(MODEL.trainable_variables)
SEEDS = keras.random.SeedGenerator(3)
GENERATOR = tf.random.Generator.from_seed(1)
STILL = tf.Variable([1, 2], name="still")
COUNT = tf.Variable(0, name="count")
TURNS = itertools.count()

Noise = Callable[[Any], Any]


def of_a_counter(x: Any, every: int = 1) -> Any:
    COUNT.assign_add(1)
    return tf.random.stateless_normal(x.shape, tf.stack([COUNT // every, 0]))


def of_iterations(x: Any) -> Any:
    turn = tf.cast(OPTIMIZER.iterations, tf.int32)
    return tf.random.stateless_normal(
        x.shape, tf.random.experimental.stateless_fold_in([1, 2], turn)
    )


def of_the_data(x: Any) -> Any:
    return tf.random.stateless_normal(x.shape, tf.cast(1000 * x[0, :2], tf.int32))


FRESH: dict[str, Noise] = {
    "by an op's own state": lambda x: tf.random.normal(x.shape),
    "by an op's own state, seeded": lambda x: tf.random.normal(x.shape, seed=4),
    "by a SeedGenerator": lambda x: keras.random.normal(x.shape, seed=SEEDS),
    "by a Generator": lambda x: GENERATOR.normal(x.shape),
    "by a counter": of_a_counter,
    "by the optimizer's iterations": of_iterations,
    "by the data": of_the_data,
}
FROZEN: dict[str, tuple[Noise, str]] = {
    "constant": (lambda x: tf.random.stateless_normal(x.shape, [1, 2]), "from a constant seed"),
    "Keras": (lambda x: keras.random.normal(x.shape, seed=7), "from a constant seed"),
    "still": (
        lambda x: tf.random.stateless_normal(x.shape, STILL),
        "from a seed that only still decides, which the step does not change",
    ),
    "slow": (lambda x: of_a_counter(x, 1000), "from a seed of count that is the same in the next"),
    "NumPy": (
        lambda x: np.random.default_rng().normal(size=x.shape).astype("float32"),
        "is a constant, another one in another trace: it was made while tracing",
    ),
    "Python": (lambda _: random.SystemRandom().random(), "it was made while tracing"),
    "a Python counter": (lambda _: 0.1 * next(TURNS), "it was made while tracing"),
}


def step_of(noise: Noise, training: bool = False) -> Any:
    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((MODEL(x + noise(x), training=training) - y) ** 2)
        weights = MODEL.trainable_variables
        OPTIMIZER.apply(tape.gradient(loss, weights), weights)

    return step


@pytest.mark.parametrize("how", FRESH)
def test_other_numbers_in_every_step(how: str) -> None:
    step = step_of(FRESH[how])
    verify.assert_graph(step, *SPECS, draws="fresh")
    assert "what is trained depends on random numbers" in rejected(step, *SPECS, draws=None)


@pytest.mark.parametrize("how", FROZEN)
def test_the_same_numbers_in_every_step(how: str) -> None:
    noise, told = FROZEN[how]
    message = rejected(step_of(noise), *SPECS, draws="fresh")
    assert "expected different random numbers in every step" in message
    assert told in message


def test_a_plain_function_is_traced_again_as_well() -> None:
    step = step_of(FROZEN["NumPy"][0]).python_function
    assert "it was made while tracing" in rejected(step, *SPECS, draws="fresh")


def test_branches_share_the_second_trace() -> None:
    traced, flag = [], tf.Variable(True, trainable=False, name="flag")
    in_a_branch = step_of(FRESH["by a counter"]).python_function

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        traced.append(x)
        tf.cond(flag, lambda: in_a_branch(x, y), lambda: in_a_branch(x, y))

    wish = {"draws": "fresh"}
    verify.assert_graph(step, *SPECS, draws="fresh", guards=[(flag, {True: wish, False: wish})])
    assert len(traced) == 2


def test_none_at_all() -> None:
    step = step_of(lambda _: 0.0)
    verify.assert_graph(step, *SPECS, draws=None)
    verify.assert_graph(step, *SPECS, draws="fresh")
    with pytest.raises(TypeError, match="is neither 'fresh' nor None"):
        verify.assert_graph(step, *SPECS, draws="new")


def test_dropout_is_fresh_and_facts_tell_what_is_not() -> None:
    step = step_of(lambda _: 0.0, training=True)
    verify.assert_graph(step, *SPECS, draws="fresh")
    assert verify.facts(step, *SPECS).draws == 1
    facts = verify.facts(step_of(FROZEN["constant"][0]), *SPECS)
    assert len(facts.frozen_draws) == facts.draws == 1
    assert "same random numbers in every step" in str(facts)


@pytest.mark.parametrize(
    ("noise", "told"),
    [
        (FROZEN["NumPy"][0], "of many numbers, which may have been drawn while tracing"),
        (FROZEN["constant"][0], "from a constant seed"),
    ],
)
def test_a_concrete_function_can_not_be_traced_again(noise: Noise, told: str) -> None:
    concrete = step_of(noise).get_concrete_function(*SPECS)
    assert told in rejected(concrete, *SPECS, draws="fresh")
    concrete = step_of(FRESH["by a counter"]).get_concrete_function(*SPECS)
    verify.assert_graph(concrete, *SPECS, draws="fresh")


@pytest.mark.parametrize("resets", [lambda: COUNT.assign(7), lambda: SEEDS.state.assign([3, 0])])
def test_a_seed_that_is_set_back_after_it_was_used(resets: Any) -> None:
    def noise(x: Any) -> Any:
        drawn = tf.random.stateless_normal(x.shape, tf.stack([COUNT, 0]))
        drawn += keras.random.normal(x.shape, seed=SEEDS)
        resets()
        return drawn

    message = rejected(step_of(noise), *SPECS, draws="fresh")
    assert "that is the same in the next step" in message or "does not change" in message


class Noisy(keras.Model):
    """Makes noise of its own, of one trace."""

    def __init__(self) -> None:
        super().__init__()
        self.last = keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.last(x + np.random.default_rng().normal(size=(4,)).astype("float32"))


def test_what_fit_runs_is_compared_with_another_trace_of_the_train_step() -> None:
    model = Noisy()
    model.compile("sgd", "mse", steps_per_execution=2)
    model.build((None, 4))
    model.make_train_function()
    for target in (model, model.train_function):
        message = rejected(target, *SPECS, draws="fresh")
        assert "it was made while tracing" in message
