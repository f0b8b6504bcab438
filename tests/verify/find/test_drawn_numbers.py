"""Random ops are fed with numbers that they could have drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

import verify

DRAWS: list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = [
    # Gumbel noise is finite for uniform numbers between 0 and 1 alone.
    (
        "Gumbel",
        lambda x: x - tf.math.log(-tf.math.log(tf.random.uniform(tf.shape(x)))),
        lambda x: x - tf.math.log(tf.math.log(1.0 / tf.random.uniform((5, 2)))),
    ),
    # An index of a table may be the last one.
    (
        "indices",
        lambda x: (
            x + tf.gather([[1.0], [2.0], [9.0]], tf.random.uniform([5], 0, 3, dtype=tf.int32))
        ),
        lambda x: (
            x + tf.gather([[1.0], [2.0], [9.0]], tf.random.uniform((5,), 0, 3, dtype=tf.int32))
        ),
    ),
    # Shuffled rows are rows of what is shuffled: their sum is known.
    (
        "shuffled rows",
        lambda x: x + tf.reduce_sum(tf.random.shuffle(x), axis=0),
        lambda x: x + tf.reduce_sum(x, axis=0) + 0.0 * tf.random.shuffle(x),
    ),
    (
        "shuffled indices",
        lambda x: x * tf.gather(x, tf.random.shuffle(tf.range(tf.shape(x)[0]))),
        lambda x: tf.gather(x, tf.random.shuffle(tf.range(5))) * x,
    ),
    (
        "categories",
        lambda x: x + tf.one_hot(tf.random.categorical(x, 1)[:, 0], 2),
        lambda x: x + tf.one_hot(tf.squeeze(tf.random.categorical(x, 1), 1), 2),
    ),
    (
        "shares of a beta distribution",
        lambda x: x * tf.math.log(tf.random.gamma(tf.shape(x)[:1], 0.2))[:, None],
        lambda x: x * tf.math.log(tf.random.gamma((5,), 0.2, dtype=tf.float32)[:, None]),
    ),
]


def differentiated(noisy: Callable[[Any], Any], weight: Any) -> Callable[[Any], Any]:
    return lambda x: tf.reduce_mean(tf.square(noisy(x) * weight))


@pytest.mark.parametrize(
    ("noisy", "meant"), [draws[1:] for draws in DRAWS], ids=[draws[0] for draws in DRAWS]
)
def test_two_spellings_of_what_is_drawn(
    noisy: Callable[[Any], Any], meant: Callable[[Any], Any]
) -> None:
    weight = tf.Variable([1.0, -2.0], name="weight")

    @tf.function
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = differentiated(noisy, weight)(x)
        weight.assign_sub(0.1 * tape.gradient(loss, weight))

    spec = tf.TensorSpec((5, 2))
    verify.assert_graph(train, spec, objective=differentiated(meant, weight))
    with pytest.raises(verify.GraphAssertionError, match="another gradient: weight"):
        verify.assert_graph(train, spec, objective=differentiated(lambda x: meant(x) + 0.1, weight))
