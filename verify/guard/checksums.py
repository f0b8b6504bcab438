"""Integers that tell whether variables changed, and what else takes a look at all elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_SMALL = 4096  # elements; what is smaller is put together, since each op costs more than they do


class Checksums:
    """Looks at all elements of some variables, with few ops.

    Args:
        variables: that values are of, in the same order; of one replica.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        sizes = [int(np.prod(variable.shape)) for variable in variables]
        # What is put together has to be of one dtype.
        self._small = [
            i
            for i, (size, variable) in enumerate(zip(sizes, variables, strict=True))
            if size <= _SMALL and variable.dtype == tf.float32
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
        return self._each(values, _squares)

    def are_finite(self, values: Sequence[Any]) -> Any:
        """Whether all elements are, (variables,) bool."""
        return self._each(values, _infinite) == 0

    def _each(self, values: Sequence[Any], by_element: Callable[[Any], Any]) -> Any:
        """Sums over the elements of each variable, (variables,) int64."""
        found = []
        if self._small:
            packed = tf.concat([tf.reshape(values[i], [-1]) for i in self._small], axis=0)
            count = len(self._small)
            found.append(tf.math.unsorted_segment_sum(by_element(packed), self._ids, count))
        if self._large:
            found.append(tf.stack([tf.reduce_sum(by_element(values[i])) for i in self._large]))
        if len(found) == 1:  # in order
            return found[0]
        return tf.gather(tf.concat(found, axis=0), self._order)


def norms(before: Sequence[Any], now: Sequence[Any]) -> Any:
    """Norms of changes over those of what changed, (variables,) float64; NaN where that was 0."""
    of_change = [tf.norm(_wide(a) - _wide(b)) for a, b in zip(now, before, strict=True)]
    of_value = tf.stack([tf.norm(_wide(value)) for value in before])
    return tf.where(of_value > 0, tf.stack(of_change) / of_value, tf.constant(np.nan, tf.float64))


def _squares(value: Any) -> Any:
    """The squares of the bits of numbers, as int64 of the same shape."""
    if value.dtype.is_floating:
        value = tf.bitcast(value, {2: tf.int16, 4: tf.int32, 8: tf.int64}[value.dtype.size])
    bits = tf.cast(value, tf.int64)
    return bits * bits


def _infinite(value: Any) -> Any:
    """1 for each element that is not finite, as int64."""
    if not value.dtype.is_floating:
        return tf.zeros_like(value, tf.int64)
    return tf.cast(~tf.math.is_finite(value), tf.int64)


def _wide(value: Any) -> Any:
    return tf.cast(value, tf.float64)
