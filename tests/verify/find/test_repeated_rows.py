"""Rows of a table that are looked up several times, or not at all: what an update makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.find.test_rows import NUMBERS, WEIGHTS, Words, specs, table
from tests.verify.updates import rejected
from verify.find import Detector
from verify.step import capture

optim = keras.optimizers

Rule = Callable[[tf.IndexedSlices, keras.Variable], Any]


def each_once(gradient: tf.IndexedSlices, combined: Any = tf.math.unsorted_segment_sum) -> Any:
    """The same gradient with one row for each number."""
    numbers, places = tf.unique(gradient.indices)
    rows = combined(gradient.values, places, tf.size(numbers))
    return tf.IndexedSlices(rows, numbers, gradient.dense_shape)


def kept(start: float = 0.1) -> Any:
    return tf.Variable(tf.fill((7, 3), start), trainable=False)


def scattered(gradient: Any, variable: Any) -> None:
    variable.value.scatter_sub(tf.IndexedSlices(0.01 * gradient.values, gradient.indices))


def added_up(gradient: Any, variable: Any) -> None:
    variable.value.assign_sub(0.01 * tf.convert_to_tensor(gradient))


def the_last_one(gradient: Any, variable: Any) -> None:
    rows = tf.gather(variable.value, gradient.indices) - 0.01 * gradient.values
    variable.value.scatter_update(tf.IndexedSlices(rows, gradient.indices))


def adagrad(apart: bool = False, squares: str = "scatter_add") -> Rule:
    """Adagrad, of rows: `apart`, of each time that one was looked up."""
    sums = kept()

    def apply(gradient: Any, variable: Any) -> None:
        rows = gradient if apart else each_once(gradient)
        squared = tf.square(rows.values)
        if squares == "scatter_update":
            squared += tf.gather(sums, rows.indices)
        getattr(sums, squares)(tf.IndexedSlices(squared, rows.indices))
        change = 0.01 * rows.values / tf.sqrt(tf.gather(sums, rows.indices) + 1e-7)
        variable.value.scatter_sub(tf.IndexedSlices(change, rows.indices))

    return apply


def momentum(lazy: bool) -> Rule:
    """`lazy`: what is kept of a row that is not looked up stays as it is."""
    velocity = kept(0.0)

    def apply(gradient: Any, variable: Any) -> None:
        rows = each_once(gradient)
        if lazy:
            old = tf.gather(velocity, rows.indices)
            new = tf.IndexedSlices(0.9 * old - 0.01 * rows.values, rows.indices)
            velocity.scatter_update(new)
            variable.value.scatter_add(new)
        else:
            velocity.assign(0.9 * velocity - 0.01 * tf.convert_to_tensor(rows))
            variable.value.assign_add(velocity)

    return apply


SGD, ADAGRAD, MOMENTUM = optim.SGD(0.01), optim.Adagrad(0.01), optim.SGD(0.01, momentum=0.9)

RULES: dict[str, tuple[Rule, Any, bool]] = {
    "scattered": (scattered, SGD, True),
    "added_up": (added_up, SGD, True),
    "the_last_one": (the_last_one, SGD, False),
    "adagrad": (adagrad(), ADAGRAD, True),
    "adagrad_of_each": (adagrad(apart=True), ADAGRAD, True),  # as Keras' own does
    "adagrad_of_the_last": (adagrad(apart=True, squares="scatter_update"), ADAGRAD, False),
    "momentum": (momentum(lazy=False), MOMENTUM, True),
    "lazy_momentum": (momentum(lazy=True), MOMENTUM, False),
}
"""By name: what is done with rows, an optimizer, and whether that would do the same."""


@pytest.fixture(scope="module")
def by_hand() -> dict[str, Callable[[Any], bool]]:
    """A table for each rule, of which the same rows are looked up."""
    tables = {name: table(name) for name in RULES}

    @tf.function(autograph=False)
    def train(numbers: Any, weights: Any) -> None:
        for name, variable in tables.items():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(weights * tf.gather(variable.value, numbers) ** 2)
            RULES[name][0](tape.gradient(loss, variable.value), variable)

    detector = Detector(capture(train, NUMBERS, WEIGHTS))
    keys = {u.variable.path.partition(":")[0]: u.variable.key for u in detector.flow.trained}
    return {
        name: lambda optimizer, key=keys[name]: (
            detector.optimizers.made_as(key, optimizer) is not None
        )
        for name in RULES
    }


@pytest.mark.parametrize("name", RULES)
def test_a_rule_by_hand(name: str, by_hand: Any) -> None:
    _, optimizer, same = RULES[name]
    assert by_hand[name](optimizer) == same


# -- what is done before the optimizer -------------------------------------------------------------


def of_each(combined: Any) -> Callable[[Any], Any]:
    return lambda g: each_once(g, combined) if isinstance(g, tf.IndexedSlices) else g


@pytest.mark.parametrize("make", [optim.SGD, optim.Adagrad])
def test_rows_may_be_added_up_before_the_optimizer(make: Any) -> None:
    trained = Words(make(0.1, clipvalue=0.5), treat=of_each(tf.math.unsorted_segment_sum))
    verify.assert_graph(
        trained.step, *specs(), optimizer=make(0.1), clipping=(-0.5, 0.5), objective=trained.loss
    )


@pytest.mark.parametrize("combined", [tf.math.unsorted_segment_max, tf.math.unsorted_segment_mean])
def test_another_combination_of_rows_is_told(combined: Any) -> None:
    trained = Words(optim.Adagrad(0.1), treat=of_each(combined))
    told = rejected(trained.step, *specs(), objective=trained.loss)
    assert "small/embeddings, words/embeddings" in told
    verify.assert_graph(trained.step, *specs(), optimizer=optim.Adagrad(0.1))


def test_rows_that_are_never_looked_up_twice() -> None:
    """Of these, a rule that takes the last of several is as good as any."""
    positions, sgd = table("positions"), optim.SGD(0.01)

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            rows = tf.gather(positions.value, tf.range(tf.shape(x)[1]))
            loss = tf.reduce_mean((x * rows) ** 2)
        the_last_one(tape.gradient(loss, positions.value), positions)

    verify.assert_graph(train, tf.TensorSpec((8, None, 3)), optimizer=sgd)
