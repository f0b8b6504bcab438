"""Which variables a backward pass finds as the step has written them before."""

from __future__ import annotations

import importlib
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from verify.step_facts import changes, lines_of

MODEL = tuple(
    f"model/{layer}/{name}" for layer in ("dense", "dense_1") for name in ("bias", "kernel")
)
# Per backward pass, the models that are another pass' by then.
CORPUS = {"wgan_gp": [set(), {"critic"}], "cyclegan": [set()] * 4, "ddpg": [set(), {"critic"}]}


@pytest.mark.parametrize("name", CORPUS)
def test_models_that_are_trained_before_others(name: str) -> None:
    case = importlib.import_module(f"tests.corpus.{name}").case()
    facts = verify.facts(case.step, *case.batch)
    found = [{path.partition("/")[0] for path in one.moved} for one in facts.objectives]
    assert found == CORPUS[name]
    if any(CORPUS[name]):
        assert "after critic/* are written" in " ".join(str(facts).split())


def test_a_step_that_looks_where_weights_are_moved_to_is_no_plain_one() -> None:
    case = importlib.import_module("tests.corpus.sam").case()
    facts = verify.facts(case.step, *case.batch)
    assert [one.moved for one in facts.objectives] == [MODEL]
    assert "where the step has moved model/* to before" in " ".join(str(facts).split())
    plain = importlib.import_module("tests.corpus.sam").case("no ascent")
    there = verify.facts(plain.step, *plain.batch)
    assert changes(lines_of(there), lines_of(facts))


@pytest.mark.parametrize("rounds", [1, 3])
def test_updates_of_the_same_objective_are_its_own(rounds: int) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x: Any, y: Any) -> None:
        for _ in range(rounds):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x) - y) ** 4)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)

    facts = verify.facts(step, tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1)))
    assert [one.moved for one in facts.objectives] == [()]


@pytest.mark.parametrize("first", [True, False])
def test_what_else_is_written_before_it_is_read(first: bool) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="model")
    queue = tf.Variable(tf.ones((6, 3)), trainable=False, name="queue")
    weights = [v.value for v in model.trainable_variables]

    def enqueue(keys: Any) -> None:
        queue.assign(tf.concat([keys, queue[:-2]], 0))

    @tf.function
    def step(x: Any, keys: Any) -> None:
        if first:
            enqueue(keys)
        with tf.GradientTape() as tape:
            loss = tf.reduce_logsumexp(model(x) @ tf.transpose(queue))
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(0.1 * gradient)
        if not first:
            enqueue(keys)

    facts = verify.facts(step, tf.TensorSpec((2, 4)), tf.TensorSpec((2, 3)))
    assert [one.moved for one in facts.objectives] == [("queue",) if first else ()]
    assert ("after queue is written" in " ".join(str(facts).split())) == first
