"""What `verify` does not see of state, modes and random numbers: lines of docs/verify.md.

The docstrings begin as the lines do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from tests.verify.not_seen.asked import X, Y, asked, descent, mse, net
from tests.verify.steps import Asked, dense
from tests.verify.updates import when

SIX = tf.TensorSpec((8, 6))


def variable(shape: Sequence[int], name: str, trainable: bool = False) -> keras.Variable:
    return keras.Variable(tf.ones(shape), trainable=trainable, name=name)


def test_a_write_of_what_was_there() -> None:
    """For `unchanged`: that a write leaves a variable"""
    large, small = variable((600, 600), "large"), variable((2, 3), "small")

    def by_python(value: Any) -> Any:
        return tf.ensure_shape(tf.py_function(lambda one: one, [value], tf.float32), (2, 3))

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        large.assign(tf.identity(large.value))
        small.assign(by_python(small.value))

    told = Asked(train, X)(unchanged="*")
    assert "large is written by" in told
    assert "small is written by" in told


def test_statistics_of_adversarial_examples() -> None:
    """For `statistics`: statistics of something that depends on gradients"""
    model, moving = dense(), variable((4,), "moving")

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = mse(y, model(x))
        moved = x + 0.1 * tf.sign(tape.gradient(loss, x))
        moving.assign(0.9 * moving.value + 0.1 * tf.reduce_mean(moved, 0))

    told = Asked(train, X, Y, model=model)(statistics="moving")
    assert "state of an optimizer" in told


def test_a_statistic_that_is_moved_twice() -> None:
    """For `statistics`: if several writes move one"""
    moving = variable((4,), "moving")

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        moving.assign(0.9 * moving.value + 0.1 * tf.reduce_mean(x, 0))
        moving.assign(0.5 * moving.value + 0.5 * tf.reduce_mean(x**2, 0))

    assert not Asked(train, X)(statistics={"moving": 0.9})


class Average:
    """A step that trains a weight, and then averages it in some way."""

    def __init__(self, shape: Sequence[int] = (6, 3)) -> None:
        self.weight, self.kept = variable((6, 3), "weight", True), variable(shape, "kept")
        self.other = variable((6, 3), "other")

    def asked(self, average: Callable[[], Any]) -> Asked:
        sgd = keras.optimizers.SGD(0.1)
        sgd.build([self.weight])

        @tf.function(autograph=False)
        def train(x: Any) -> None:
            with tf.GradientTape() as tape:
                loss = mse(1.0, x @ self.weight.value)
            sgd.apply(tape.gradient(loss, [self.weight.value]), [self.weight])
            average()

        return Asked(train, SIX)


def test_other_averages() -> None:
    """For `follows`: averages of some rows"""
    one, flat = Average(), Average((18,))

    def of_rows() -> None:
        rows = tf.constant([0, 2])
        made = 0.9 * tf.gather(one.kept.value, rows) + 0.1 * tf.gather(one.weight.value, rows)
        one.kept.value.scatter_update(tf.IndexedSlices(made, rows))

    def of_two() -> None:
        one.kept.assign(0.8 * one.kept.value + 0.1 * one.weight.value + 0.1 * one.other.value)

    def of_another_shape() -> None:
        flat.kept.assign(0.9 * flat.kept.value + 0.1 * tf.reshape(flat.weight.value, [-1]))

    for average in (of_rows, of_two):
        step = one.asked(average)
        assert "not a known average" in step(follows={"kept": ("weight", 0.1)})
        assert "kept is an average of other variables" in step(follows=None)
    assert "kept is an average of other variables" in flat.asked(of_another_shape)(follows=None)


def test_how_often_an_average_is_made() -> None:
    """For `follows`: how often the branch is taken"""
    one, calls = Average(), tf.Variable(0, trainable=False)

    def seldom() -> None:
        made = 0.9 * one.kept.value + 0.1 * one.weight.value
        when(tf.equal(calls.assign_add(1) % 10**6, 0), lambda: one.kept.assign(made))

    assert not one.asked(seldom)(follows={"kept": ("weight", 0.1)})


def test_a_trained_variable_that_follows() -> None:
    """For `follows`: that a variable which is trained by a gradient"""
    one = Average()
    step = one.asked(lambda: one.weight.assign(0.5 * one.weight.value + 0.5 * one.kept.value))
    told = step(follows={"weight": ("kept", 0.5)})
    assert "is trained from its gradient as well" in told


class Halved(keras.layers.Layer):  # type: ignore[misc]
    """Halves what it is given, in training alone."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return 0.5 * inputs if training else inputs


def test_a_mode_of_the_same_variables() -> None:
    """For `training`: the mode of a layer that depends"""
    model = net(Halved())
    for mode in (True, False):
        step = asked(lambda x, y, mode=mode: mse(y, model(x, training=mode)), model)
        assert not step(training=True)
        assert not step(training=False)


def test_a_layer_in_both_modes() -> None:
    """For `training`: a layer that is called in both modes"""
    model = net(keras.layers.Dropout(0.5))
    step = asked(lambda x, y: mse(model(x), model(x, training=True)), model)
    assert not step(training=True)


def test_few_numbers_of_a_concrete_function() -> None:
    """For `draws`: numbers that Python draws while tracing something that is not"""
    model, drawn = net(), np.random.default_rng(0)

    def by(count: int) -> Any:
        def loss(x: Any, y: Any) -> Any:
            noise = tf.constant(drawn.normal(size=(1, count)).astype("float32"))
            return mse(y, model(x + tf.repeat(noise, 4 // count, axis=1)))

        return descent(loss, model.trainable_variables)

    few, many = by(2), by(4)
    assert not Asked(few.get_concrete_function(X, Y))(draws="fresh")
    assert "may have been drawn" in Asked(many.get_concrete_function(X, Y))(draws="fresh")
    assert "another one in another trace" in Asked(few, X, Y)(draws="fresh")


def test_numbers_of_a_function_that_was_traced() -> None:
    """For `draws`: numbers drawn in a `tf.function`"""
    model, drawn = net(), np.random.default_rng(0)
    noise = tf.function(lambda: tf.constant(drawn.normal(size=(8, 4)).astype("float32")))
    noise()
    assert not asked(lambda x, y: mse(y, model(x + noise())), model)(draws="fresh")


def test_a_seed_that_seldom_changes() -> None:
    """For `draws`: a seed that only changes now and then"""
    model, seed = net(), tf.Variable([1, 2], trainable=False)

    def loss(x: Any, y: Any) -> Any:
        when(tf.reduce_mean(x) > 1e6, lambda: seed.assign_add([1, 0]))
        return mse(y, model(x + tf.random.stateless_normal((8, 4), seed)))

    assert not asked(loss, model)(draws="fresh")


def test_many_orders_of_random_numbers() -> None:
    """The order in which random numbers of the same kind"""
    model = net()

    def noisy(order: Sequence[int]) -> Callable[..., Any]:
        def made(x: Any, _: Any = None) -> Any:
            drawn = {i: tf.random.normal((8, 4)) for i in order}
            return model(x + tf.add_n([(i + 1.0) * one for i, one in drawn.items()]))

        return made

    for many, told in ((4, False), (5, True)):
        order = list(range(many))
        step = asked(lambda x, y, o=order: mse(y, noisy(o)(x)), model)
        assert bool(step(forward=noisy(order[::-1]))) == told


def test_conditions_of_functions() -> None:
    """For `conditions`: an expression of more than arithmetic"""
    weight, mean = tf.Variable(1.0, name="weight"), tf.Variable(0.0, trainable=False, name="mean")
    flag = tf.Variable(False, trainable=False, name="flag")

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        flag.assign(tf.exp(mean) < 2.0)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x * weight) ** 2)
        slope = tape.gradient(loss, weight)
        when(flag, lambda: weight.assign_sub(0.1 * slope))
        mean.assign(loss)

    step = Asked(train, tf.TensorSpec((4,)))
    (shown,) = verify.facts(train, tf.TensorSpec((4,))).conditions
    assert not step(conditions={"flag": shown.value})
    assert not step(conditions={"flag": "mean < 0.693147"})
    assert "it is not made of Exp" in step(conditions={"flag": "2 > Exp(mean)"})


def test_digits_of_a_fingerprint() -> None:
    """A `fingerprint` rounds to five digits"""
    model = dense()

    def digits(factor: float) -> str:
        train = descent(lambda x, y: factor * mse(y, model(x)), model.trainable_variables)
        return str(verify.facts(train, X, Y).fingerprint)

    assert digits(1.0) == digits(1.000001) != digits(1.001)


def test_the_fingerprint_of_a_large_step() -> None:
    """In steps of more than 4,000 ops, 260,000 weights or 2 million values, a `fingerprint`"""
    model = net(keras.layers.Dense(600), features=600)
    train = descent(lambda x, y: mse(y, model(x)), model.trainable_variables)
    assert verify.facts(train, tf.TensorSpec((8, 600)), Y).fingerprint.startswith("ops-")


def test_a_loop_over_a_dataset() -> None:
    """`for batch in dataset` inside a `tf.function`"""
    weight = tf.Variable(1.0)
    data = tf.data.Dataset.from_tensor_slices([1.0, 2.0])

    @tf.function
    def epoch() -> None:
        for x in data:
            with tf.GradientTape() as tape:
                loss = (x * weight) ** 2
            weight.assign_sub(0.1 * tape.gradient(loss, weight))

    with pytest.raises(ValueError, match="dataset"):
        verify.facts(epoch)


def test_layers_that_never_train() -> None:
    """For `training=True`: layers that the model itself always calls"""

    class Frozen(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = keras.layers.BatchNormalization(), keras.layers.Dense(1)

        def call(self, x: Any, training: bool = False) -> Any:
            return self.head(self.norm(x, training=False))

    model = Frozen()
    model(tf.zeros((8, 4)))
    step = asked(lambda x, y: mse(y, model(x, training=True)), model)
    assert not step(training=True)
