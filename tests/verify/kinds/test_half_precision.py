"""Numbers of a step in half precision are as exact as that is."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

import verify
from tests.verify.updates import rejected


@pytest.mark.parametrize(("factor", "alike"), [(0.3, True), (0.305, False)])
def test_constants_in_half_precision(factor: float, alike: bool) -> None:
    """A number is as exact as the precision that it was written down in."""
    weight = tf.Variable(tf.ones((4, 1), tf.bfloat16))

    def loss_of(x: Any, y: Any, by: Any) -> Any:
        return tf.reduce_mean(tf.cast(by, tf.float64) * tf.cast((x @ weight - y) ** 2, tf.float64))

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(x, y, tf.constant(factor, tf.bfloat16))
        (gradient,) = tape.gradient(loss, [weight])
        weight.assign_sub(gradient)

    specs = tf.TensorSpec((8, 4), tf.bfloat16), tf.TensorSpec((8, 1), tf.bfloat16)
    expected = {"objective": lambda x, y: loss_of(x, y, 0.3)}
    if alike:
        verify.assert_graph(train, *specs, **expected)
    else:
        assert "times that" in rejected(train, *specs, **expected)
