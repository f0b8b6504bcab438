"""Schedules of the regulariser: what they are at each step, and in a file."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from inalu.schedules import Ramp, staircase

STEPS = [0, 3, 4, 5, 6, 7, 100]


def at_steps(schedule: Any) -> list[float]:
    """In a graph, of what an optimizer counts."""
    compiled = tf.function(schedule)
    return [float(compiled(tf.constant(step, tf.int64))) for step in STEPS]


def test_ramp() -> None:
    assert at_steps(Ramp(10.0, 4, 6)) == [0.0, 0.0, 0.0, 5.0, 10.0, 10.0, 10.0]
    assert float(Ramp(10.0, 4, 6)(5)) == 5.0


@pytest.mark.parametrize(("start", "end"), [(4, 4), (5, 4)])
def test_ramp_needs_time(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=f"Ramp: start is {start} and end 4, expected start < end"):
        Ramp(1.0, start, end)


@pytest.mark.parametrize(
    ("first", "last", "values"),
    [
        (1e-9, 1e-7, [1e-9, 1e-9, 1e-8, 1e-8, 1e-8, 1e-8, 1e-7]),
        (1e-3, 1e-2, [1e-3, 1e-3, 1e-2, 1e-2, 1e-2, 1e-2, 1e-2]),
    ],
)
def test_staircase(first: float, last: float, values: list[float]) -> None:
    """Each value for four steps, the last one for all others."""
    np.testing.assert_allclose(at_steps(staircase(first, last, 4)), values, rtol=1e-6)


def test_staircase_of_one_stair() -> None:
    assert staircase(0.1, 0.1, 4) == 0.1


@pytest.mark.parametrize(
    ("first", "last"), [(0.0, 0.1), (-0.1, 0.1), (0.1, 0.01), (0.1, float("inf"))]
)
def test_staircase_that_never_arrives(first: float, last: float) -> None:
    with pytest.raises(ValueError, match=f"first is {first} and last {last}, expected 0 < first"):
        staircase(first, last, 4)


def test_staircase_without_steps() -> None:
    with pytest.raises(ValueError, match="steps is 0, expected at least 1"):
        staircase(0.01, 0.1, 0)


@pytest.mark.parametrize("schedule", [Ramp(10.0, 4, 6), staircase(1e-3, 1e-1, 2)])
def test_saved_and_loaded(schedule: Any) -> None:
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert type(again) is type(schedule)
    assert at_steps(again) == at_steps(schedule)
