"""Two ways to write one step are the same step; what is only nearly the same is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify

W = tf.Variable(np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2), name="w")
B = tf.Variable([0.1, -0.2], name="b")
MOMENT = tf.Variable(tf.zeros((4, 2)), trainable=False, name="moment")
ON = tf.Variable(True, trainable=False, name="on")
X, Y = tf.TensorSpec((None, 4)), tf.TensorSpec((None, 2))
TABLE = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)

Step = Callable[[Any, Any], Any]


def trained(
    loss: Step,
    treat: Callable[[list[Any]], list[Any]] = lambda gradients: gradients,
    write: Callable[[Any, Any], Any] = lambda v, g: v.assign_sub(0.1 * g),
) -> Any:
    """A step on ``x @ W + B``."""

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(y, x @ W + B)
        gradients = treat(tape.gradient(value, [W, B]))
        for variable, gradient in zip((W, B), gradients, strict=True):
            write(variable, gradient)
        return value

    return step


def mse(y: Any, p: Any) -> Any:
    return tf.reduce_mean(tf.square(p - y))


def same(a: Any, b: Any, **settings: Any) -> bool:
    try:
        verify.assert_same_step(a, b, X, Y, **settings)
    except verify.GraphAssertionError:
        return False
    return True


def clipped(c: float) -> Any:
    return lambda gradients: [tf.clip_by_value(g, -c, c) for g in gradients]


def clipped_by_hand(gradients: list[Any]) -> list[Any]:
    return [tf.minimum(tf.maximum(g, -0.1), 0.1) for g in gradients]


def normed(gradients: list[Any]) -> list[Any]:
    return list(tf.clip_by_global_norm(gradients, 0.5)[0])


def normed_by_hand(gradients: list[Any]) -> list[Any]:
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(g * g) for g in gradients]))
    return [g * tf.minimum(1.0, 0.5 / norm) for g in gradients]


def noisy(scale: float) -> Step:
    return lambda y, p: mse(y, p + scale * tf.random.normal(tf.shape(p)))


def table(values: Any) -> Step:
    return lambda y, p: mse(y, p) + tf.reduce_mean(p @ tf.transpose(values))


PAIRS = {
    "a square": (trained(mse), trained(lambda y, p: tf.reduce_mean((y - p) ** 2))),
    "a loss of Keras": (
        trained(mse),
        trained(lambda y, p: keras.losses.MeanSquaredError()(y, p)),
    ),
    "a sum over the batch": (
        trained(mse),
        trained(lambda y, p: tf.nn.l2_loss(y - p) / tf.cast(tf.shape(y)[0], tf.float32)),
    ),
    "a clip": (trained(mse, clipped(0.1)), trained(mse, clipped_by_hand)),
    "a clip by norm": (trained(mse, normed), trained(mse, normed_by_hand)),
    "an update": (
        trained(mse, write=lambda v, g: v.assign_sub(0.1 * g)),
        trained(mse, write=lambda v, g: v.assign(v - g / 10)),
    ),
    "a branch": (
        trained(mse, write=lambda v, g: v.assign_sub(tf.cond(ON, lambda: g, lambda: 0.5 * g))),
        trained(mse, write=lambda v, g: v.assign_sub(g * tf.where(ON, 1.0, 0.5))),
    ),
    "noise": (
        trained(noisy(0.1)),
        trained(lambda y, p: mse(y, p + tf.random.normal(tf.shape(p)) / 10)),
    ),
}
MISSES = {
    "a factor": (trained(mse), trained(lambda y, p: 1.01 * mse(y, p))),
    "a clip": (trained(mse, clipped(0.1)), trained(mse, clipped(0.11))),
    "no clip": (trained(mse, normed), trained(mse)),
    "a rate": (trained(mse), trained(mse, write=lambda v, g: v.assign_sub(0.11 * g))),
    "a sign": (trained(mse), trained(mse, write=lambda v, g: v.assign_add(0.1 * g))),
    "a moment that is not kept": (
        trained(mse, write=lambda v, g: v.assign_sub(0.1 * g)),
        trained(
            mse,
            write=lambda v, g: (MOMENT.assign(g) if v is W else None, v.assign_sub(0.1 * g)),
        ),
    ),
    "the other branch": (
        trained(mse, write=lambda v, g: v.assign_sub(tf.cond(ON, lambda: g, lambda: 0.5 * g))),
        trained(mse, write=lambda v, g: v.assign_sub(g * tf.where(ON, 1.0, 0.51))),
    ),
    "noise": (trained(noisy(0.1)), trained(noisy(0.12))),
    "gradients exchanged": (
        trained(mse, write=lambda v, g: v.assign_sub(0.1 * g)),
        trained(mse, lambda g: [g[0], tf.reverse(g[1], [0])]),
    ),
    "one number of two hundred": (
        trained(table(TABLE)),
        trained(table(np.where(TABLE[50, 1] == TABLE, 0, TABLE))),
    ),
    "printed": (
        trained(mse),
        trained(mse, lambda g: [(tf.print("seen"), one)[1] for one in g]),
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_another_way_to_write_a_step_is_the_same_step(pair: str) -> None:
    a, b = PAIRS[pair]
    assert same(a, b)
    assert same(b, a)
    assert not same(a, b, exact=True)


@pytest.mark.parametrize("miss", MISSES)
def test_what_is_only_nearly_the_same_is_not(miss: str) -> None:
    a, b = MISSES[miss]
    assert not same(a, b)
    assert not same(b, a)


def test_what_they_return_counts_if_asked() -> None:
    a, b = trained(mse), trained(lambda y, p: tf.reduce_mean((y - p) ** 2) + 1)
    assert same(a, b)
    assert not same(a, b, outputs=True)


def test_a_branch_that_is_never_taken_can_not_be_told() -> None:
    """Both do the same wherever they were looked at; the graphs say where they do not."""

    def rarely(factor: float) -> Any:
        def write(v: Any, g: Any) -> Any:
            often = tf.reduce_sum(g) < 1e9
            return v.assign_sub(tf.cond(often, lambda: 0.1 * g, lambda: factor * g))

        return write

    a, b = (trained(mse, write=rarely(factor)) for factor in (0.1, 0.2))
    assert not same(a, b)


def test_two_models_of_one_make_with_optimizers_of_their_own() -> None:
    def model() -> keras.Model:
        made = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(2)]
        )
        made.compile(keras.optimizers.Adam(0.01), loss="mse")
        return made

    def by_hand(made: keras.Model) -> Any:
        made.optimizer.build(made.trainable_variables)

        @tf.function
        def step(x: Any, y: Any) -> None:
            with tf.GradientTape() as tape:
                value = tf.reduce_mean((made(x, training=True) - y) ** 2)
            variables = made.trainable_variables
            made.optimizer.apply(tape.gradient(value, variables), variables)

        return step

    assert same(by_hand(model()), by_hand(model()))
    one = model()
    verify.assert_same_step(by_hand(one), by_hand(one), X, Y)
