"""Walks over a flat graph end, and soon."""

from __future__ import annotations

from typing import Any
from unittest import mock

import tensorflow as tf

from verify.graphs import FlatGraph, read


def test_choices_by_earlier_choices_are_decided_once_each() -> None:
    """Nested, they took a time that doubled with each."""
    weight = tf.Variable(2.0)

    def nested(depth: int, flag: Any, y: Any) -> Any:
        if depth == 0:
            return y * weight
        nearer = tf.cond(flag, lambda: y[0] > depth, lambda: y[1] > depth)
        return tf.cond(flag, lambda: nested(depth - 1, nearer, y * weight), lambda: y)

    def train(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(nested(7, x[0] > 0, x))
        weight.assign_sub(tape.gradient(loss, weight))

    concrete = tf.function(train).get_concrete_function(tf.TensorSpec((4,)))
    seen_from = FlatGraph.seen_from
    with mock.patch.object(FlatGraph, "seen_from", autospec=True, side_effect=seen_from) as walks:
        flat = read(concrete, ()).flat
    assert walks.call_count < 50 * len(flat.nodes)
