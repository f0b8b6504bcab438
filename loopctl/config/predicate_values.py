"""Where graph predicates get their values from: what is asked for, and how the host answers.

In the graph `loopctl.compile` answers, from counters and windows that it holds in variables.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

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


class Values(Protocol):
    """Gives a predicate its values: tensors in the graph, NumPy scalars on the host."""

    def constant(self, value: float) -> Any:
        """A scalar: int64 of an int, float64 of a float."""

    def counter(self, name: str) -> Any:
        """Scalar int64."""

    def statistic(self, statistic: Statistic) -> Any:
        """Scalar float64."""

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
        history = self.callback.reinit_history
        if statistic.validated and statistic.name not in history.names:
            values = self.callback.validation.get(statistic.name, ())[-statistic.window :]
            return np.mean(values, dtype=np.float64) if values else np.float64("nan")
        if not len(history):
            return np.float64("nan")
        return np.mean(history.column(statistic.name, statistic.window), dtype=np.float64)

    def real(self, value: Any) -> Any:
        return np.float64(value)

    def where(self, condition: Any, value: Any, other: Any) -> Any:
        return value if condition else other

    def cosine(self, value: Any) -> Any:
        return np.cos(value)
