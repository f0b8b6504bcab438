"""What traces a function again is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import verify


def function() -> Any:
    return tf.function(lambda data, rate=1.0: data[0] * rate if isinstance(data, tuple) else data)


def test_alike_calls_share_a_trace() -> None:
    verify.assert_no_retrace(function(), [tf.zeros((2,)), tf.ones((2,)), np.ones((2,), "float32")])


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([tf.zeros((2,)), tf.zeros((3,))], r"data: shape \(3,\), \(2,\) before; give it an input_"),
        ([tf.zeros((2,)), tf.zeros((2,), "float64")], "data: dtype float64, float32 before"),
        (
            [(tf.zeros(2), 0.1), (tf.zeros(2), 0.2)],
            r"rate: the Python value 0\.2, 0\.1 before; Python values are frozen",
        ),
        (
            [((tf.zeros(2), tf.zeros(3)),), ((tf.zeros(2), tf.zeros(4)),)],
            r"data\[1\]: shape \(4,\), \(3,\) before",
        ),
        ([tf.zeros(2), {"data": tf.zeros(2), "rate": tf.constant(1.0)}], "rate is there in one"),
        ([tf.zeros(2), ((tf.zeros(2),), {"rate": 2})], "rate is there in one"),
    ],
    ids=["shape", "dtype", "Python value", "nested", "named", "named too"],
)
def test_the_argument_that_differs_is_named(calls: list[Any], message: str) -> None:
    with pytest.raises(verify.GraphAssertionError, match=message):
        verify.assert_no_retrace(function(), calls)


def test_only_the_call_that_is_traced_again_is_told() -> None:
    with pytest.raises(
        verify.GraphAssertionError, match="call 3 to use an earlier trace"
    ) as caught:
        verify.assert_no_retrace(
            function(), [tf.zeros(2), tf.ones(2), tf.zeros((2, 2)), tf.ones(2)]
        )
    assert len(caught.value.violations) == 1


def test_what_can_never_retrace_is_refused() -> None:
    with pytest.raises(TypeError, match=r"no tf\.function"):
        verify.assert_no_retrace(len, [1, 2])
    with pytest.raises(ValueError, match="two calls"):
        verify.assert_no_retrace(function(), [tf.zeros(2)])
