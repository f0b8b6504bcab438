"""In what the arguments of two calls of a ``tf.function`` differ, and what to do about each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PYTHON = "Python values are frozen into the graph: pass a tensor"
_NUMBERS = (bool, int, float, complex)
_STREAMS = (tf.data.Dataset, tf.data.Iterator, tf.distribute.DistributedIterator)


@dataclasses.dataclass(frozen=True)
class Advice:
    """What can be advised for one function.

    `relaxes`: it has ``reduce_retracing=True`` already. `by_keras`: Keras or loopctl made it, so
    that nobody can give it a signature.
    """

    relaxes: bool = False
    by_keras: bool = False

    def differences(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
        """What sets the arguments of a call, by name, apart from those of an earlier one."""
        found: list[str] = []
        for name in {**before, **now}:
            if name in before and name in now:
                found += self._between(name, before[name], now[name])
            else:
                told = "its default is frozen into the graph: pass a tensor in every call"
                found.append(f"{name} is given in only one of the calls; {told}")
        return found

    def _between(self, path: str, before: Any, now: Any) -> list[str]:
        before, now = _opened(before), _opened(now)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            return self._of_mappings(path, before, now)
        if isinstance(before, list | tuple) and isinstance(now, list | tuple):
            return self._of_sequences(path, before, now)
        told = self._of_leaves(before, now)
        return [f"{path}: {told}"] if told else []

    def _of_mappings(
        self, path: str, before: Mapping[Any, Any], now: Mapping[Any, Any]
    ) -> list[str]:
        if before.keys() != now.keys():
            keys = [", ".join(repr(key) for key in one) or "none" for one in (now, before)]
            told = "keys are part of the trace: give the same ones in every call"
            return [f"{path}: the keys {keys[0]}, {keys[1]} before; {told}"]
        pairs = ((f"{path}[{key!r}]", before[key], now[key]) for key in now)
        return [told for place, one, other in pairs for told in self._between(place, one, other)]

    def _of_sequences(
        self, path: str, before: list[Any] | tuple[Any, ...], now: list[Any] | tuple[Any, ...]
    ) -> list[str]:
        if type(before) is not type(now):
            return [f"{path}: a {type(now).__name__}, a {type(before).__name__} before"]
        if len(before) != len(now):
            told = "their number is part of the trace: stack them, or always give the same number"
            return [f"{path}: {len(now)} values, {len(before)} before; {told}"]
        pairs = ((f"{path}[{i}]", *pair) for i, pair in enumerate(zip(before, now, strict=True)))
        return [told for place, one, other in pairs for told in self._between(place, one, other)]

    def _of_leaves(self, before: Any, now: Any) -> str:
        first, second = _spec(before), _spec(now)
        if first is not None and second is not None:
            return self._of_specs(first, second)
        if before is None or now is None:
            if before is now:
                return ""
            return (
                f"{_named(now)}, {_named(before)} before; None is part of the trace: pass a tensor "
                "in every call, or make a tf.function for each case"
            )
        if type(before) is not type(now):
            told = (
                f"; {_PYTHON}" if isinstance(before, _NUMBERS) or isinstance(now, _NUMBERS) else ""
            )
            return f"{_named(now)}, {_named(before)} before{told}"
        if before is now or _equal(before, now):
            return ""
        if isinstance(now, (*_NUMBERS, np.generic)):
            return f"the Python value {now!r}, {before!r} before; {_PYTHON}"
        if isinstance(now, str | bytes):
            return (
                f"the Python value {now!r}, {before!r} before; Python values are frozen into the "
                "graph: make a tf.function for each"
            )
        if isinstance(now, keras.optimizers.Optimizer):
            return (
                "another optimizer; the graph writes the variables of one: make a tf.function for "
                "each optimizer, which closes over it"
            )
        if isinstance(now, Callable):  # type: ignore[arg-type]  # mypy has it for a form, not a type
            return (
                f"another {_noun(now)}; objects are told apart by identity: make it once and pass "
                "the same one, or make a tf.function for each, which closes over it"
            )
        return (
            f"another {type(now).__name__}; Python objects are told apart by identity or by =="
            ": pass the same one, or tensors"
        )

    def _of_specs(self, before: Any, now: Any) -> str:
        kinds = [_kind(spec) for spec in (before, now)]
        if kinds[0] != kinds[1]:
            return f"a {kinds[1]}, a {kinds[0]} before; pass the same kind in every call"
        if before.dtype != now.dtype:
            dtypes = now.dtype.name, before.dtype.name
            return f"dtype {dtypes[0]}, {dtypes[1]} before; cast it, tf.cast(..., tf.{dtypes[1]})"
        shapes = [tf.TensorShape(spec.shape) for spec in (before, now)]
        if shapes[0].rank == shapes[1].rank and shapes[0] == shapes[1]:
            return ""
        told = f"shape {_shown(shapes[1])}, {_shown(shapes[0])} before"
        return f"{told}; {self._of_shapes(shapes[0], shapes[1], now)}"

    def _of_shapes(self, before: tf.TensorShape, now: tf.TensorShape, spec: Any) -> str:
        if before.rank != now.rank:
            return "give both the same rank"
        if self.by_keras:
            return (
                "Keras relaxes a shape only after it has changed: feed a tf.data.Dataset whose "
                "element_spec has None there, or pad to the same shape"
            )
        kind = "" if isinstance(spec, tf.TensorSpec) else f" of tf.{type(spec).__name__}"
        signature = f"give it an input_signature{kind} with None there"
        if self.relaxes:
            return f"reduce_retracing relaxes a shape only after it has changed: {signature}"
        return f"{signature}, or reduce_retracing=True"


def _opened(value: Any) -> Any:
    """What an iterator or a dataset hands out, as specs; any other value as it is."""
    return value.element_spec if isinstance(value, _STREAMS) else value


def _spec(value: Any) -> Any:
    """The spec of a tensor of any kind, an array or a variable; None for Python values."""
    if isinstance(value, tf.TypeSpec):
        return value if hasattr(value, "dtype") and hasattr(value, "shape") else None
    if isinstance(value, tf.Variable):
        return _VariableSpec(value.shape, value.dtype)
    if isinstance(value, np.ndarray | np.generic):
        return tf.TensorSpec(value.shape, value.dtype)
    if tf.is_tensor(value) and not isinstance(value, keras.Variable):
        found = tf.type_spec_from_value(value)
        return found if hasattr(found, "dtype") and hasattr(found, "shape") else None
    return None


@dataclasses.dataclass(frozen=True)
class _VariableSpec:
    shape: Any
    dtype: Any


_KINDS = {
    "TensorSpec": "tensor",
    "RaggedTensorSpec": "ragged tensor",
    "SparseTensorSpec": "sparse tensor",
    "_VariableSpec": "variable",
}


def _kind(spec: Any) -> str:
    return _KINDS.get(type(spec).__name__, type(spec).__name__)


def _named(value: Any) -> str:
    spec = _spec(value)
    if spec is not None:
        return f"a {_kind(spec)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _noun(value: Any) -> str:
    name = type(value).__name__
    return "function" if name in ("function", "builtin_function_or_method", "method") else name


def _shown(shape: tf.TensorShape) -> str:
    return "unknown" if shape.rank is None else str(tuple(shape))


def _equal(before: Any, now: Any) -> bool:
    try:
        return bool(before == now)
    except (TypeError, ValueError):
        return False
