"""A program gives the same in whichever way it is called."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from loopctl.run import programs
from loopctl.run.programs import Program

CALLS = 12


def counting() -> tuple[tf.Variable, Any]:
    """A variable, and a function that adds to it and returns two tensors."""
    total = tf.Variable(0.0)

    def add(x: Any) -> tuple[Any, Any]:
        return tf.identity(total.assign_add(x)), 2 * x

    return total, tf.function(add, autograph=False).get_concrete_function(tf.TensorSpec(()))


def called(program: Program, function: Any) -> int:
    """Calls it; how often that was as ever."""
    as_ever = 0
    for i in range(CALLS):
        x = tf.constant(float(i))

        def call(x: Any = x) -> Any:
            nonlocal as_ever
            as_ever += 1
            return function(x)

        total, twice = program([x], call)
        assert (float(total), float(twice)) == (i * (i + 1) / 2, 2.0 * i)
    return as_ever


@pytest.mark.parametrize(("usual", "direct"), [(2.0, 1.0), (1.0, 2.0)], ids=["directly", "as ever"])
def test_the_faster_way_is_chosen(
    usual: float, direct: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is tried four times, in turns; the first call of each does not count."""
    total, function = counting()
    program, ways = Program(function), [9.0, 9.0, *(usual, direct) * 3]
    monkeypatch.setattr(programs.time, "perf_counter", Clock(ways))
    assert called(program, function) == 4 + (CALLS - 8) * (usual < direct)
    assert float(total) == CALLS * (CALLS - 1) / 2


class Clock:
    """Tells the beginning and the end of what takes so long, one after the other."""

    def __init__(self, lengths: list[float]) -> None:
        self.times = [time for length in lengths for time in (0.0, length)]

    def __call__(self) -> float:
        return self.times.pop(0)


def test_what_is_large_is_called_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """To make it ready for another way takes long, and its ops are worth other threads."""
    monkeypatch.setattr(programs, "_OPS", 2)
    _, function = counting()
    assert called(Program(function), function) == CALLS


def test_beside_an_accelerator_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    _, function = counting()
    assert called(Program(function), function) == CALLS


def test_errors_are_those_of_the_function() -> None:
    def fail(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, 1.0, "too much")]):
            return (tf.identity(x),)

    function = tf.function(fail, autograph=False).get_concrete_function(tf.TensorSpec(()))
    program = Program(function)
    for _ in range(3):
        with pytest.raises(tf.errors.InvalidArgumentError, match="too much"):
            program([tf.constant(2.0)], lambda: function(tf.constant(2.0)))
        assert float(program([tf.constant(0.0)], lambda: function(tf.constant(0.0)))[0]) == 0.0
