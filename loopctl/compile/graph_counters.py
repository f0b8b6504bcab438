"""Counters and windows of recent values in the graph, from which predicates are computed.

The host sets all of them when training begins, and whenever its own counters or history were
assigned or an epoch began. In between, the graph counts by itself, so that every step of an
execution of many sees its own numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from loopctl.config import Best, ConfigError, Expression, Statistic, bests, closest

PER_STEP = ("batches", "batches_in_epochs", "reinit_batches")  # counters that a step increases


class Columns(Protocol):
    """What is read of a history: the values of every step so far, by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""

    def column(self, name: str, last: int | None = None) -> np.ndarray[Any, Any]:
        """The (last) values of one name, (steps,)."""


class Window:
    """The last values of one column, in a ring: float64, (size,). Unused places hold zero."""

    def __init__(self, statistic: Statistic) -> None:
        self.name, self.size = statistic.name, statistic.window
        self.validated = statistic.validated
        name = f"{statistic.name}_window_{statistic.window}"
        self._values = _variable(np.zeros(self.size), name)
        self._seen = _variable(np.int64(0), f"{name}_seen")

    @property
    def variables(self) -> list[Any]:
        return [self._values, self._seen]

    def append(self, value: Any) -> None:
        position = self._seen % self.size
        self._values.scatter_nd_update([[position]], [tf.cast(value, tf.float64)])
        self._seen.assign_add(1)

    def mean(self) -> Any:
        """Scalar float64; NaN of nothing."""
        count = tf.cast(tf.minimum(self._seen, self.size), tf.float64)
        return tf.reduce_sum(self._values) / count

    def load(self, column: np.ndarray[Any, Any]) -> None:
        """Starts from the end of a column that has been seen."""
        recent = np.zeros(self.size)
        last = column[-self.size :]
        recent[: len(last)] = last
        self._values.assign(recent)
        # Full rings are written from the front again, which holds the oldest value.
        self._seen.assign(len(last))


class Record:
    """The best value of a column, and how many came after it: scalars, float64 and int64."""

    def __init__(self, best: Best) -> None:
        self.best, self.name = best, best.name
        self._best = _variable(np.float64(np.inf), f"{best.name}_best")
        self.since = _variable(np.int64(0), f"{best.name}_since_best")
        self.load(np.array([]))

    @property
    def variables(self) -> list[Any]:
        return [self._best, self.since]

    def append(self, value: Any) -> None:
        sign = tf.constant(1.0 if self.best.mode == "min" else -1.0, tf.float64)
        better = sign * value < sign * self._best - tf.constant(self.best.delta, tf.float64)
        self._best.assign(tf.where(better, value, self._best))
        self.since.assign(tf.where(better, tf.zeros((), tf.int64), self.since + 1))

    def load(self, column: np.ndarray[Any, Any]) -> None:
        """As if just these values had been seen."""
        best, since = self.best.seen(column)
        self._best.assign(best)
        self.since.assign(since)


class Progress:
    """Gives predicates their values in the graph, from the counters and windows they read."""

    def __init__(self, predicates: Iterable[Expression]) -> None:
        predicates = tuple(predicates)
        counters = sorted({name for p in predicates for name in p.counters})
        statistics = dict.fromkeys(s for p in predicates for s in p.statistics)
        self._counters = {name: _variable(np.int64(0), name) for name in counters}
        self._windows = {statistic: Window(statistic) for statistic in statistics}
        self._records = {b: Record(b) for p in predicates for b in bests(p)}

    @property
    def variables(self) -> list[Any]:
        """All that counts and remembers."""
        windows = (v for window in self._windows.values() for v in window.variables)
        records = (v for record in self._records.values() for v in record.variables)
        return [*self._counters.values(), *windows, *records]

    def constant(self, value: float) -> Any:
        return tf.constant(value, tf.int64 if isinstance(value, int) else tf.float64)

    def counter(self, name: str) -> Any:
        return self._counters[name].read_value()

    def statistic(self, statistic: Statistic) -> Any:
        return self._windows[statistic].mean()

    def since_best(self, best: Best) -> Any:
        return self._records[best].since.read_value()

    def real(self, value: Any) -> Any:
        return tf.cast(value, tf.float64)

    def where(self, condition: Any, value: Any, other: Any) -> Any:
        return tf.where(condition, value, other)

    def cosine(self, value: Any) -> Any:
        return tf.cos(value)

    def advance(self, values: Mapping[str, Any]) -> None:
        """Counts a finished step, whose values by name are scalars."""
        for name in PER_STEP:
            if name in self._counters:
                self._counters[name].assign_add(1)
        for window in self._windows.values():
            if window.name not in values and window.validated:
                continue  # measured between epochs
            if window.name not in values:
                raise ConfigError(
                    f"a graph predicate reads when.{window.name}, but a train step has no such "
                    f"value: it has {', '.join(values)}.{closest(window.name, values)}"
                )
            window.append(values[window.name])
        for best, record in self._records.items():
            if best.name in values:
                record.append(self._windows[Statistic(best.name, best.window)].mean())

    def load(
        self,
        counters: Mapping[str, int],
        history: Columns,
        validation: Mapping[str, Sequence[float]],
        anew: bool = True,
    ) -> None:
        """Takes over the host's counters and what was seen since the last reinitialisation.

        Args:
            anew: whether the history is another than what was seen here. If it is not, records of
                it stay: the host's means are rounded otherwise, which would be better by nothing.
        """
        for name, variable in self._counters.items():
            variable.assign(counters[name])
        for window in self._windows.values():
            if window.name in history.names:
                window.load(history.column(window.name, window.size))
            else:
                window.load(np.asarray(validation.get(window.name, ()), np.float64))
        for record in self._records.values():
            if record.name not in history.names:
                record.load(np.asarray(validation.get(record.name, ()), np.float64))
            elif anew:
                record.load(history.column(record.name))


def _variable(value: Any, name: str) -> Any:
    return tf.Variable(value, trainable=False, name=name)
