"""Where graph predicates get their values from: what is asked for, and how the host answers.

In the graph `loopctl.compile` answers, from counters and windows that it holds in variables.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]

VALIDATION = "val_"
"""How ``fit`` begins the names of what it measures on validation data, once an epoch."""

COUNTERS = ("batches", "batches_in_epochs", "epochs", "reinit_batches", "reinit_epochs")


@dataclasses.dataclass(frozen=True)
class Statistic:
    """The mean of the last `window` values of the history's column `name`.

    Of a `validated` one there is a value for each epoch that was validated, not for each step.
    """

    name: str
    window: int

    @property
    def validated(self) -> bool:
        return self.name.startswith(VALIDATION)


@dataclasses.dataclass(frozen=True)
class Best:
    """The best value of a history's column so far, by which others are judged.

    Means of `window` values are compared. A better one is less by more than `delta` (`mode` "min"),
    or greater ("max").
    """

    name: str
    window: int
    delta: float
    mode: str

    def seen(self, values: Array) -> tuple[float, int]:
        """The best of values that came one after another, and how many came after it."""
        sign = 1.0 if self.mode == "min" else -1.0
        means = sign * _means(np.asarray(values, np.float64), self.window)
        # Better than the best is at least better than all before; NaN is never better.
        known = np.where(np.isnan(means), np.inf, means)
        before = np.minimum.accumulate(np.concatenate([[np.inf], known]))[:-1]
        best, at = np.inf, -1
        for i in np.flatnonzero(known < before):
            if known[i] < best - self.delta:
                best, at = known[i], int(i)
        return float(sign * best), len(means) - 1 - at if len(means) else 0


def _means(values: Array, window: int) -> Array:
    """After each value, the mean of the last `window`, or of as many as there are."""
    if window == 1 or not len(values):
        return values
    first = [np.mean(values[: i + 1]) for i in range(min(window - 1, len(values)))]
    if len(values) < window:
        return np.array(first)
    full = np.lib.stride_tricks.sliding_window_view(values, window).mean(axis=-1)
    return np.concatenate([first, full])


class Values(Protocol):
    """Gives a predicate its values: tensors in the graph, NumPy scalars on the host."""

    def constant(self, value: float) -> Any:
        """A scalar: int64 of an int, float64 of a float."""

    def counter(self, name: str) -> Any:
        """Scalar int64."""

    def statistic(self, statistic: Statistic) -> Any:
        """Scalar float64."""

    def since_best(self, best: Best) -> Any:
        """How many values have come since the best one, scalar int64."""

    def real(self, value: Any) -> Any:
        """`value` as float64."""

    def where(self, condition: Any, value: Any, other: Any) -> Any:
        """`value` if `condition` holds, else `other`: scalars of one type."""

    def cosine(self, value: Any) -> Any:
        """Of a float64."""


class HostValues:
    """The values a condition is computed from, as the callback has them, in NumPy scalars."""

    def __init__(self, callback: Any) -> None:
        self.callback = callback

    def constant(self, value: float) -> Any:
        return np.int64(value) if isinstance(value, int) else np.float64(value)

    def counter(self, name: str) -> Any:
        return np.int64(getattr(self.callback, name))

    def statistic(self, statistic: Statistic) -> Any:
        values = self._values(statistic.name, statistic.window)
        return np.mean(values, dtype=np.float64) if len(values) else np.float64("nan")

    def since_best(self, best: Best) -> Any:
        return np.int64(best.seen(self._values(best.name))[1])

    def _values(self, name: str, last: int | None = None) -> Array:
        """The (last) values of a column since the last reinitialisation."""
        history = self.callback.reinit_history
        if name.startswith(VALIDATION) and name not in history.names:
            values = self.callback.validation.get(name, ())
            return np.array(values if last is None else values[-last:], np.float64)
        return history.column(name, last) if len(history) else np.array([])

    def real(self, value: Any) -> Any:
        return np.float64(value)

    def where(self, condition: Any, value: Any, other: Any) -> Any:
        return value if condition else other

    def cosine(self, value: Any) -> Any:
        return np.cos(value)
