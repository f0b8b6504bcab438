"""Whether calls of a ``tf.function`` share one trace, and what keeps them from it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.assertions.failure import fail
from verify.kinds import Violation

_RELAX = "give it an input_signature with None there, or reduce_retracing=True"
_PYTHON = "Python values are frozen into the graph: pass a tensor"


def assert_no_retrace(fn: Any, calls: Sequence[Any]) -> None:
    """Asserts that a function is traced once for all of these calls; it is not run.

    Args:
        fn: a ``tf.function``.
        calls: per call, the positional arguments as a tuple, the named ones as a mapping, or a
            pair of both; anything else is the only argument.

    Raises:
        GraphAssertionError: naming, for each call that was traced again, the arguments that differ
            from those of the call before which is most like it.
        TypeError: `fn` is no ``tf.function``.
        ValueError: there are fewer than two calls.
    """
    __tracebackhide__ = True
    if not hasattr(fn, "experimental_get_tracing_count"):
        raise TypeError(f"{fn!r} is no tf.function: nothing is ever traced")
    if len(calls) < 2:
        raise ValueError("it takes two calls to trace again")
    given = [_arguments(call) for call in calls]
    violations: list[Violation] = []
    name = getattr(fn, "__name__", "step")
    for number, (args, named) in enumerate(given):
        before = fn.experimental_get_tracing_count()
        fn.get_concrete_function(*args, **named)
        if number and fn.experimental_get_tracing_count() > before:
            leaves = _leaves(fn, args, named)
            earlier = [_differences(_leaves(fn, *one), leaves) for one in given[:number]]
            hints = min(earlier, key=len)
            told = hints or ["no argument differs: what it closes over, or a global, does"]
            violations.append(
                Violation(
                    "retrace",
                    f"call {number + 1} to use an earlier trace",
                    "it is traced anew",
                    (*told,),
                )
            )
    fail(name, violations)


def _arguments(call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(call, Mapping):
        return (), dict(call)
    if not isinstance(call, tuple):
        return (call,), {}
    if len(call) == 2 and isinstance(call[0], tuple) and isinstance(call[1], Mapping):
        return call[0], dict(call[1])
    return call, {}


def _leaves(fn: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """Each tensor, array or Python value among the arguments, by where it is: ``data[0]``."""
    bound = inspect.signature(fn.python_function).bind(*args, **named)
    found: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        for path, leaf in _flat(name, value):
            found[path] = leaf
    return found


def _flat(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, one in value.items() for leaf in _flat(f"{path}[{key!r}]", one)]
    if isinstance(value, list | tuple):
        return [leaf for i, one in enumerate(value) for leaf in _flat(f"{path}[{i}]", one)]
    return [(path, value)]


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found = []
    for path in {**before, **now}:
        if path not in before or path not in now:
            found.append(f"{path} is there in one of the calls only")
            continue
        told = _difference(before[path], now[path])
        if told:
            found.append(f"{path}: {told}")
    return found


def _difference(before: Any, now: Any) -> str:
    first, second = _spec(before), _spec(now)
    if first is not None and second is not None:
        (shape, dtype), (another, other) = first, second
        if dtype != other:
            return f"dtype {other}, {dtype} before"
        return "" if shape == another else f"shape {another}, {shape} before; {_RELAX}"
    kinds = [type(value).__name__ for value in (before, now)]
    if kinds[0] != kinds[1]:
        return f"a {kinds[1]}, a {kinds[0]} before"
    if before is now or _equal(before, now):
        return ""
    return f"the Python value {now!r}, {before!r} before; {_PYTHON}"


def _equal(before: Any, now: Any) -> bool:
    try:
        return bool(before == now)
    except (TypeError, ValueError):
        return False


def _spec(value: Any) -> tuple[Any, str] | None:
    if tf.is_tensor(value) or isinstance(value, tf.TensorSpec):
        return tuple(value.shape) if value.shape.rank is not None else None, value.dtype.name
    if isinstance(value, np.ndarray | np.generic):
        return value.shape, value.dtype.name
    return None
