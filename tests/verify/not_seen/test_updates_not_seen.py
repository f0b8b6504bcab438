"""What `verify` does not see of updates: each line of docs/verify.md, as the docstrings begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tests.replicas import mirrored
from tests.verify.not_seen.asked import X, Y, descent, mse, net
from tests.verify.steps import Asked, dense
from tests.verify.updates import BATCH, state, step_of, when

optim = keras.optimizers


def clipped(gradient: Any) -> Any:
    return tf.clip_by_value(gradient, -1.0, 1.0)


AFTER: dict[str, Callable[[Any], Any]] = {
    "ten times": lambda g: 10.0 * clipped(g),
    "squared": lambda g: tf.square(clipped(g)),
}


def by_a_rule_of_ones_own(treat: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    kept = state()

    def apply(gradient: Any, variable: Any) -> None:
        treated = treat(gradient)
        kept.assign(0.9 * kept + tf.sign(treated) * tf.sqrt(tf.abs(treated)))
        variable.assign_sub(0.01 * tf.tanh(kept))

    return apply


def test_what_comes_after_a_clip() -> None:
    """What enters an optimizer that `verify` cannot reach"""
    step = Asked(step_of({n: by_a_rule_of_ones_own(f) for n, f in AFTER.items()}), BATCH)
    assert not step(clipping=(-1.0, 1.0))
    weight, adam = keras.Variable(tf.ones((2, 3)), name="weight"), optim.Adam(0.1)
    adam.build([weight])

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = mse(1.0, x @ weight.value)
        adam.apply([AFTER["squared"](tape.gradient(loss, weight.value))], [weight])

    assert not Asked(train.get_concrete_function(BATCH))(clipping=(-1.0, 1.0))
    assert Asked(train, BATCH)(clipping=(-1.0, 1.0))


def test_what_comes_after_a_clip_on_replicas() -> None:
    """With several replicas: what comes after a clip"""
    strategy = mirrored()
    with strategy.scope():
        model = net()

    def replica(x: Any, y: Any) -> None:
        weights = [v.value for v in model.trainable_variables]
        with tf.GradientTape() as tape:
            loss = mse(y, model(x))
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(0.1 * AFTER["ten times"](gradient))

    several = Asked(tf.function(lambda x, y: strategy.run(replica, (x, y))), X, Y, model=model)
    assert not several(clipping=(-1.0, 1.0))


def test_what_comes_before_a_clip() -> None:
    """For `clipping`: what else is made of a gradient"""
    sgd, kept = optim.SGD(0.1), keras.Variable(tf.ones((2, 3)), name="weight")
    sgd.build([kept])

    def loss(x: Any) -> Any:
        return mse(1.0, x @ kept.value)

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(x)
        sgd.apply([clipped(tf.square(tape.gradient(value, kept.value)))], [kept])

    step = Asked(train, BATCH)
    assert not step(clipping=(-1.0, 1.0))
    assert step(objective=loss)


def test_a_clipped_momentum() -> None:
    """Whether a clip is applied to a gradient or to a momentum"""
    kept = state()

    def apply(gradient: Any, variable: Any) -> None:
        variable.assign_sub(0.1 * clipped(kept.assign(0.9 * kept + gradient)))

    assert not Asked(step_of({"weight": apply}), BATCH)(clipping=(-1.0, 1.0))


def test_a_constant_of_plain_descent() -> None:
    """In plain gradient descent written by hand"""
    step = Asked(step_of({"weight": lambda g, v: v.assign_sub(0.1 * 100.0 * g)}), BATCH)
    assert not step(learning_rate=10.0)
    assert step(learning_rate=0.1)


def test_where_a_share_is_added() -> None:
    """For `decayed`: whether a share of the variable"""
    adam = optim.Adam(0.1)

    def in_the_gradient(gradient: Any, variable: Any) -> None:
        adam.build([variable])
        adam.apply([gradient + 0.01 * variable.value], [variable])

    decoupled = optim.AdamW(0.1, weight_decay=0.1)
    for how in (in_the_gradient, decoupled):
        step = Asked(step_of({"weight": how}), BATCH)
        assert not step(decayed="weight")
        assert bool(step(optimizer=optim.AdamW(0.1, weight_decay=0.1))) == (how is not decoupled)


def test_exchanged_gradients_of_many_weights() -> None:
    """Gradients that are swapped between variables"""
    one, other = (keras.Variable(tf.ones((2, 70_000)), name=name) for name in "ab")

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = mse(0.0, x @ one.value) + mse(1.0, x @ other.value)
        first, second = tape.gradient(loss, [one.value, other.value])
        one.assign_sub(0.1 * second)
        other.assign_sub(0.1 * first)

    assert not Asked(train, BATCH)(watched=["a", "b"])


def test_adafactor_of_a_large_table() -> None:
    """The rule by which Adafactor updates rows"""
    rows, table = (
        tf.TensorSpec((8,), tf.int32),
        keras.Variable(tf.zeros((300_000, 4)), name="table"),
    )
    train = descent(lambda i: mse(1.0, tf.gather(table.value, i)), [table], optim.Adafactor(0.1))
    assert "by an unknown rule" in Asked(train, rows)(optimizer=optim.Adafactor(0.1))


def accumulating(apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Adds up the gradients of three calls, and updates by their sum."""
    total, calls = state(), tf.Variable(0, trainable=False)

    def step(gradient: Any, variable: Any) -> None:
        total.assign_add(gradient)

        def update() -> None:
            apply(total, variable)
            total.assign(tf.zeros_like(total))

        when(tf.equal(calls.assign_add(1) % 3, 0), update)

    return step


def test_the_divisor_before_a_rule_of_ones_own() -> None:
    """For `accumulated`: the division by `k`"""
    rule = by_a_rule_of_ones_own(lambda total: 0.5 * (total / 3.0))
    assert not Asked(step_of({"weight": accumulating(rule)}), BATCH)(accumulated=3)


def test_a_rate_that_is_divided() -> None:
    """For `accumulated`: in plain descent by hand"""
    step = step_of({"weight": accumulating(lambda total, v: v.assign_sub(0.1 / 3 * total))})
    assert "by the sum of their gradients" in Asked(step, BATCH)(accumulated=3)


def test_accumulated_in_several_places() -> None:
    """For `accumulated`: a variable that is updated in several places"""
    flag = tf.Variable(True, trainable=False, name="flag")
    one, other = (accumulating(lambda total, v: v.assign_sub(0.1 * (total / 3.0))) for _ in "ab")

    def apply(gradient: Any, variable: Any) -> None:
        when(flag, lambda: one(gradient, variable))
        when(tf.logical_not(flag), lambda: other(gradient, variable))

    assert "can't be told" in Asked(step_of({"weight": apply}), BATCH)(accumulated=3)


def test_the_loss_of_a_branch() -> None:
    """That an update in one branch uses the gradient"""
    model, flag = dense(), tf.Variable(True, trainable=False, name="flag")
    sgd = optim.SGD(0.1)
    sgd.build(model.trainable_variables)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            made = model(x)
            loss = tf.cond(flag, lambda: mse(y, made), lambda: tf.reduce_mean(tf.abs(y - made)))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        when(tf.logical_not(flag), lambda: sgd.apply(gradients, model.trainable_variables))

    step = Asked(train, X, Y, model=model)
    assert not step(loss=["mse", "mae"])
    assert step(guards={"flag": {True: {"loss": "mse"}}})


def test_a_schedule_between_the_steps_that_are_looked_at() -> None:
    """A rate by hand that depends on the step is held against a schedule"""
    count = tf.Variable(0, trainable=False, dtype="int64", name="count")

    def apply(gradient: Any, variable: Any) -> None:
        rate = 0.1 * 0.5 ** (tf.cast(count, tf.float32) / 100.0)
        variable.assign_sub(tf.where(tf.equal(count, 50), 9.0, rate) * gradient)
        count.assign_add(1)

    step = Asked(step_of({"weight": apply}), BATCH)
    assert not step(learning_rate=optim.schedules.ExponentialDecay(0.1, 100, 0.5))


def test_a_constraint() -> None:
    """What is written to a trained variable beside its update"""
    sgd = optim.SGD(0.1)
    weight = keras.Variable(tf.ones((2, 3)), name="weight")
    weight.constraint = keras.constraints.NonNeg()
    sgd.build([weight])
    by_keras = Asked(descent(lambda x: mse(1.0, x @ weight.value), [weight], sgd), BATCH)
    assert not by_keras(optimizer=sgd)

    def clipped_weights(gradient: Any, variable: Any) -> None:
        variable.assign_sub(0.1 * gradient)
        variable.assign(tf.clip_by_value(variable.value, -1.0, 1.0))

    by_hand = Asked(step_of({"weight": clipped_weights}), BATCH)
    assert not by_hand(watched="weight")
    assert by_hand(optimizer=optim.SGD(0.1))


def test_a_copy_that_is_no_part_of_the_model() -> None:
    """For `unwatched`: what is written by hand to variables"""
    model = net()
    copy = tf.Variable(model.layers[-1].kernel, trainable=False, name="copy")
    train = descent(lambda x, y: mse(y, model(x)), model.trainable_variables)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        train(x, y)
        copy.assign(0.9 * copy + 0.1)

    written = Asked(step, X, Y, model=model)
    assert not written(unwatched="copy")
    assert written(unchanged="copy")
