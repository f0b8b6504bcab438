"""Integers that tell whether variables changed, and what else takes a look at all elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_SMALL = 256  # elements; what is smaller is put together, since each op costs more than they do
_TINY = {tf.float32: 1e-38, tf.float64: 1e-300}
"""A factor at which no sum of finite numbers overflows."""


class Checksums:
    """Looks at all elements of some variables, with few ops.

    Args:
        variables: that values are of, in the same order; of one replica. Specs will do.
        compiled: whether XLA makes one of all ops: it adds up what is together one by one.
    """

    def __init__(self, variables: Sequence[Any], compiled: bool = False) -> None:
        sizes = [int(np.prod(variable.shape)) for variable in variables]
        # What is put together has to be of one dtype.
        self._small = [
            i
            for i, (size, variable) in enumerate(zip(sizes, variables, strict=True))
            if not compiled and size <= _SMALL and variable.dtype == tf.float32
        ]
        small = [sizes[i] for i in self._small]
        self._ids = np.repeat(np.arange(len(small)), small).astype(np.int32)
        self._large = [i for i in range(len(variables)) if i not in {*self._small}]
        self._order = np.argsort([*self._small, *self._large])

    def of(self, values: Sequence[Any]) -> Any:
        """Checksums, (variables,) int64: the sum of the squared bits of all elements.

        What overflows wraps. Other bits make another sum, but for one case in 2^64, or where
        elements have changed places.
        """
        return self._each(values, _squares)[0]

    def and_finite(self, values: Sequence[Any]) -> tuple[Any, Any]:
        """Checksums, and whether all elements are finite, (variables,) bool."""
        sums, tiny = self._each(values, _squares, _tiny)
        return sums, tf.math.is_finite(tiny)

    def _each(self, values: Sequence[Any], *by_element: Callable[[Any], Any]) -> list[Any]:
        """Sums over the elements of each variable, (variables,), of each of these functions."""
        count = len(self._small)
        packed = None
        if count:
            packed = tf.concat([tf.reshape(values[i], [-1]) for i in self._small], axis=0)
        found = []
        for function in by_element:
            parts = []
            if count:
                parts.append(tf.math.unsorted_segment_sum(function(packed), self._ids, count))
            if self._large:
                parts.append(tf.stack([tf.reduce_sum(function(values[i])) for i in self._large]))
            # If there is one part, it is in order.
            found.append(
                tf.gather(tf.concat(parts, axis=0), self._order) if len(parts) > 1 else parts[0]
            )
        return found


def norms(before: Sequence[Any], now: Sequence[Any]) -> Any:
    """Norms of changes over those of what changed, (variables,) float64; NaN where that was 0."""
    of_change = [tf.norm(_wide(a) - _wide(b)) for a, b in zip(now, before, strict=True)]
    of_value = tf.stack([tf.norm(_wide(value)) for value in before])
    return tf.where(of_value > 0, tf.stack(of_change) / of_value, tf.constant(np.nan, tf.float64))


def only_whether_finite(number: Any, ignore_nan: bool = False) -> Any:
    """A float32 scalar that is finite if all of some numbers are; `ignore_nan`: but for NaN."""
    if ignore_nan:
        number = tf.where(tf.math.is_nan(number), tf.zeros_like(number), number)
    if number.dtype == tf.float32 and number.shape.rank == 0:
        return number
    return tf.reduce_sum(_tiny(number))


def _squares(value: Any) -> Any:
    """The squares of the bits of numbers, as int64 of the same shape."""
    if value.dtype.is_floating:
        value = tf.bitcast(value, {2: tf.int16, 4: tf.int32, 8: tf.int64}[value.dtype.size])
    bits = tf.cast(value, tf.int64)
    return bits * bits


def _tiny(value: Any) -> Any:
    """Float32 of the same shape, finite where numbers are, of which no sum overflows."""
    if value.dtype not in _TINY:
        value = tf.cast(value, tf.float32)
    return tf.cast(value * _TINY[value.dtype], tf.float32)


def _wide(value: Any) -> Any:
    return tf.cast(value, tf.float64)
