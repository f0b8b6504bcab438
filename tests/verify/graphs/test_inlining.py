"""What a graph captures instead of holding it: large tensors are constants, whatever their size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step
from verify.graphs import read

EXAMPLES = 300
SIZES = (1, 128, 129, EXAMPLES)


def weights(last: float, size: int = EXAMPLES) -> Any:
    """One for each example; only those of the last `size` differ from 1."""
    values = np.ones((EXAMPLES, 1), np.float32)
    values[-size:, 0] = np.linspace(0.5, last, size)
    return tf.constant(values)


def weighted(by: Any) -> Callable[[Any, Any], Any]:
    def loss(y: Any, prediction: Any) -> Any:
        return tf.reduce_mean(by * (prediction - y) ** 2)

    return loss


@pytest.mark.parametrize("size", SIZES)
def test_the_graph_holds_what_it_captures(size: int) -> None:
    captured = tf.constant(np.arange(size, dtype=np.float32))
    concrete = tf.function(lambda x: x * captured).get_concrete_function(tf.TensorSpec(()))
    flat = read(concrete, ()).flat
    constants = [flat.constant((node.index, 0)) for node in flat.nodes if node.op == "Const"]
    assert [value.tolist() for value in constants if value is not None] == [list(range(size))]
    assert len(flat.arguments) == 1
    attributes = [attrs for _, attrs in verify.graph(concrete).nodes(data="attrs")]
    held = [attrs["value"] for attrs in attributes if "value" in attrs]
    assert [value.size for value in held] == [size]
    assert verify.facts(concrete).constant_bytes == 4 * size


@pytest.mark.parametrize("size", SIZES)
def test_a_loss_with_other_weights_is_another_loss(size: int) -> None:
    by = weights(2.0, size)
    train = step(dense(), weighted(by))
    verify.assert_graph(train, *batch(EXAMPLES), loss=weighted(by))
    with pytest.raises(verify.GraphAssertionError, match=r"float32\[300, 1\] with"):
        verify.assert_graph(train, *batch(EXAMPLES), loss=weighted(weights(2.1, size) + 0.01))


def test_steps_with_other_weights_are_not_the_same() -> None:
    one, same, other = (step(dense(), weighted(weights(last))) for last in (2.0, 2.0, 2.1))
    verify.assert_same_step(one, same, *batch(EXAMPLES))
    with pytest.raises(verify.GraphAssertionError, match=r"with .* at"):
        verify.assert_same_step(one, other, *batch(EXAMPLES))


def test_targets_may_be_captured() -> None:
    targets = tf.constant(np.linspace(0, 1, EXAMPLES, dtype=np.float32)[:, None])

    def mse(_: Any, prediction: Any) -> Any:
        return tf.reduce_mean(tf.square(prediction - targets))

    train = step(dense(), mse)
    verify.assert_graph(train, *batch(EXAMPLES), loss=mse, watched="*", clipping=None)
