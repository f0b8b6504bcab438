"""Steps that accumulate by hand, by a counter that starts anew, and on several replicas."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.replicas import mirrored
from tests.verify.kinds.test_accumulated import CALLS, held, when
from tests.verify.steps import batch, dense
from tests.verify.updates import rejected

optim = keras.optimizers


def test_on_several_replicas_it_can_not_be_told() -> None:
    strategy = mirrored()
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        optimizer = optim.SGD(0.1)
        optimizer.build(model.trainable_variables)
        total = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in model.trainable_variables]

    def add(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((y - model(x)) ** 2)
        found = tape.gradient(loss, model.trainable_variables)
        context = tf.distribute.get_replica_context()
        for one, gradient in zip(total, context.all_reduce("SUM", found), strict=True):
            one.assign_add(gradient / CALLS)

    seen = held()

    @tf.function
    def step(x: Any, y: Any) -> None:
        strategy.run(add, (x, y))
        seen.assign_add(1)
        if seen % CALLS == 0:
            strategy.run(lambda: optimizer.apply(total, model.trainable_variables))

    for calls in (CALLS, None):
        told = rejected(step, *batch(), accumulated=calls)
        assert "can't be told: the step runs on several replicas" in told


@pytest.mark.parametrize("made", [optim.SGD(0.1), optim.Adam(0.1)])
@pytest.mark.parametrize("calls", [4, 30])
def test_an_optimizer_behind_a_counter_that_starts_anew_is_known(made: Any, calls: int) -> None:
    model, seen = dense(), held()
    optimizer = type(made).from_config(made.get_config())
    optimizer.build(model.trainable_variables)
    sums = [held(tf.zeros(v.shape)) for v in model.trainable_variables]

    def apply() -> None:
        optimizer.apply([total / float(calls) for total in sums], model.trainable_variables)
        for total in sums:
            total.assign(tf.zeros_like(total))
        seen.assign(0)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((y - model(x)) ** 2)
        for total, one in zip(sums, tape.gradient(loss, model.trainable_variables), strict=True):
            total.assign_add(one)
        seen.assign_add(1)
        when(tf.equal(seen, calls), apply)

    verify.assert_graph(step, *batch(), model=model, optimizer=made)
    other = type(made)(0.11)
    assert "learning_rate is 0.1" in rejected(step, *batch(), model=model, optimizer=other)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_mean_enters_an_optimizer_that_is_not_at_hand(momentum: float) -> None:
    """What is kept besides the sums is state of another rule."""
    model, seen = dense(), held()
    weights = model.trainable_variables
    sums, kept = ([held(tf.zeros(v.shape)) for v in weights] for _ in range(2))

    def apply() -> None:
        for variable, total, velocity in zip(weights, sums, kept, strict=True):
            velocity.assign(momentum * velocity + total / float(CALLS))
            variable.assign_sub(0.1 * (velocity if momentum else total / float(CALLS)))
            total.assign(tf.zeros_like(total))

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((y - model(x)) ** 2)
        for total, one in zip(sums, tape.gradient(loss, weights), strict=True):
            total.assign_add(one)
        seen.assign_add(1)
        when(tf.equal(seen % CALLS, 0), apply)

    asked = {"model": model, "accumulated": CALLS}
    if momentum:
        assert "optimizer" in rejected(step, *batch(), **asked, optimizer=optim.SGD(0.1))
    else:
        verify.assert_graph(step, *batch(), **asked, optimizer=optim.SGD(0.1))
    assert "optimizer" in rejected(step, *batch(), **asked, optimizer=optim.SGD(0.2))
