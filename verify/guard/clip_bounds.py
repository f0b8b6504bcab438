"""Whether what enters an optimizer's rule is as small as a clip promises, while steps run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import key_of

_ROUNDING = 1.0 + 1e-3  # half precision rounds a norm so


class ClipBounds:
    """Looks at the gradients that an optimizer of Keras is about to apply.

    They are what its ``update_step`` is handed: after its own clips, if it has any.

    Args:
        optimizer: without its loss scaling.
        clipping: ``(lo, hi)``, ``{"norm": n}`` or ``{"global_norm": n}``; for a bound
            also ``(least, most)``.
        variables: those of one replica.
    """

    def __init__(self, optimizer: Any, clipping: Any, variables: Sequence[Any]) -> None:
        self._optimizer = optimizer
        self._keys = {key_of(variable) for variable in variables}
        self._norm: str | None = None
        self._bounds: tuple[float, float]
        # Of a range, the widest: gradients do not tell what they are clipped to.
        if isinstance(clipping, Mapping):
            ((self._norm, most),) = clipping.items()
            self._bounds = 0.0, float(np.max(most))
        else:
            low, high = clipping
            self._bounds = float(np.min(low)), float(np.max(high))
        # The least and the greatest that a step has come to; squares, of a common norm.
        self._extremes = tf.Variable(tf.zeros([2], tf.float64), trainable=False)
        self.broken = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.worst = tf.Variable(0.0, trainable=False, dtype=tf.float64)

    @property
    def told(self) -> str:
        low, high = self._bounds
        if self._norm is None:
            return f"gradients of {low:g} to {high:g}"
        return f"gradients of a {self._norm.replace('_', ' ')} of at most {high:g}"

    @contextlib.contextmanager
    def looking(self, is_due: Callable[[], Any]) -> Iterator[None]:
        """While a step is traced, or runs eagerly."""
        optimizer, apply = self._optimizer, self._optimizer.update_step

        @functools.wraps(apply)
        def looked_at(gradient: Any, variable: Any, learning_rate: Any) -> Any:
            if key_of(variable) in self._keys:
                tf.cond(is_due(), lambda: self._add(gradient), lambda: tf.constant(False))
            return apply(gradient, variable, learning_rate)

        # Past Keras' attribute tracking.
        object.__setattr__(optimizer, "update_step", looked_at)
        try:
            yield
        finally:
            object.__delattr__(optimizer, "update_step")

    def look(self, step: Any) -> None:
        """Judges the step that has run, and forgets its gradients."""
        least, greatest = tf.unstack(self._extremes.read_value())
        self._extremes.assign(tf.zeros([2], tf.float64))
        if self._norm == "global_norm":
            greatest = tf.sqrt(greatest)
        low, high = (bound * _ROUNDING for bound in self._bounds)
        bad = ((least < low) | (greatest > high)) & (self.broken == 0)
        worst = tf.where(least < low, least, greatest)
        self.worst.assign(tf.where(bad, worst, self.worst))
        self.broken.assign(tf.where(bad, step, self.broken))

    def _add(self, gradient: Any) -> Any:
        values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
        wide = tf.cast(values, tf.float64)
        known = self._extremes.read_value()
        squares = tf.reduce_sum(tf.square(wide))
        if self._norm == "global_norm":
            new = [known[0], known[1] + squares]
        elif self._norm is not None:
            new = [known[0], tf.maximum(known[1], tf.sqrt(squares))]
        else:
            new = [
                tf.minimum(known[0], tf.reduce_min(wide)),
                tf.maximum(known[1], tf.reduce_max(wide)),
            ]
        self._extremes.assign(tf.stack(new))
        return tf.constant(True)
