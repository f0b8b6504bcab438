"""Gradients of single ops, traced without a function around them."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from verify.graphs import FlatGraph, Spec
from verify.references.tracing import trace, trace_alone

WIDE: Spec = ((4, 3), "float32")
ROW: Spec = ((3,), "float32")


def spread(flat: FlatGraph) -> list[Any]:
    """What the outputs are made of: ops with settings, inputs and values, by their order."""
    found, place = list[Any](), dict[int, int]()

    def visit(index: int) -> int:
        node = flat.nodes[index]
        if index not in place:
            inputs = [(visit(source), output) for source, output in node.data]
            value = flat.constant((index, 0))
            settings = None if index in flat.arguments else node.settings
            found.append((node.op, settings, inputs, None if value is None else value.tolist()))
            place[index] = len(found)
        return place[index]

    return [[(visit(index), output) for index, output in flat.outputs], found]


@pytest.mark.parametrize(
    "forward",
    [
        lambda a, b: a * b,
        lambda a, b: tf.gather(a, [2, 0]) + b,  # whose gradient is of rows
        lambda a, b: tf.reduce_mean(tf.nn.softmax(a) / b),
        lambda a, b: tf.cond(tf.reduce_sum(b) > 0, lambda: a * b, lambda: tf.sin(a)),
    ],
)
def test_it_is_what_a_function_would_be(forward: Any) -> None:
    def gradient(a: Any, b: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(a)
            result = forward(a, b)
        return tape.gradient(result, a)

    assert spread(trace_alone(gradient, [WIDE, ROW])) == spread(trace(gradient, [WIDE, ROW]))
