"""How long a column has not become better, and whether that is too long: a plateau.

What is remembered is the best value so far, and how many came after it. The graph keeps both in
variables; the host, which has the whole history, goes through it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from loopctl.config.predicate_values import Best, Values
from loopctl.config.predicates import Condition, Expression, Number, Series, SeriesMean, walk
from loopctl.config.schedules import finite_number

_MODES = ("min", "max")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SinceBest(Number):
    """How many values of a column have come since the best one."""

    best: Best

    @property
    def parts(self) -> tuple[Any, ...]:
        return (SeriesMean(self.best.name, self.best.window),)

    def evaluate(self, values: Values) -> Any:
        return values.since_best(self.best)

    def __repr__(self) -> str:
        return f"when.since_best({_settings(self.best)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Plateau(Condition):
    """True as long as the best value of a column is `patience` values ago, or more."""

    since: SinceBest
    patience: int

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.since,)

    def evaluate(self, values: Values) -> Any:
        return self.since.evaluate(values) >= values.constant(self.patience)

    def __repr__(self) -> str:
        return f"when.plateau({_settings(self.since.best, self.patience)})"


def _settings(best: Best, *more: int) -> str:
    """As arguments: those that are not what they are by default."""
    said = [repr(Series(best.name)), *map(repr, more)]
    said += [f"window={best.window!r}"] if best.window > 1 else []
    said += [f"delta={best.delta!r}"] if best.delta else []
    said += [f"mode={best.mode!r}"] if best.mode != _usual(best.name) else []
    return ", ".join(said)


def since_best(
    column: Series, *, window: int = 1, delta: float = 0.0, mode: str | None = None
) -> Number:
    """The number of values in a column since its best one; 0 before there are any.

    A column has one value for each train step; ``when.val_<name>`` has one for each validated
    epoch. Values before the last reinitialisation do not count.

    Args:
        column: such as ``when.loss``.
        window: compare means over this many values.
        delta: by how much a value has to be better than the best one; NaN is never better.
        mode: "min" or "max", which is better; may be left out for losses.

    Raises:
        TypeError, ValueError: an argument is not of these kinds.
    """
    return SinceBest(_best("since_best", column, window, delta, mode))


def plateau(
    column: Series,
    patience: int,
    *,
    window: int = 1,
    delta: float = 0.0,
    mode: str | None = None,
) -> Condition:
    """True as long as the last `patience` values of a column are not better than its best one.

    Args:
        column, window, delta, mode: as for `since_best`.
        patience: at least 1.

    Raises:
        TypeError, ValueError: an argument is not of these kinds.
    """
    best = _best("plateau", column, window, delta, mode)
    return Plateau(SinceBest(best), _count(patience, f"when.plateau: patience={patience!r}"))


def bests(expression: Expression) -> Iterator[Best]:
    """What has to be remembered of columns for an expression."""
    return (part.best for part in walk(expression) if isinstance(part, SinceBest))


def _best(called: str, column: Any, window: Any, delta: Any, mode: Any) -> Best:
    where = f"when.{called}"
    if isinstance(column, SeriesMean):
        means = f", window={column.window}" if column.window > 1 else ""
        meant = f"{Series(column.name)!r}{means}"
        raise TypeError(f"{where}: {column!r} is one number: give the column, as in {meant}")
    if not isinstance(column, Series):
        raise TypeError(f"{where}: {column!r} is not a column, such as when.loss")
    window = _count(window, f"{where}: window={window!r}")
    least = float(finite_number(delta, f"{where}: delta"))
    if least < 0:
        raise ValueError(f"{where}: delta={delta!r} is below zero")
    if mode is None:
        mode = _usual(column.name)
    if mode is None:
        raise ValueError(
            f"{where}: the name {column!r} does not say whether more or less is better: "
            "give mode='min' or mode='max'"
        )
    if mode not in _MODES:
        raise ValueError(f"{where}: mode={mode!r}: allowed are 'min' and 'max'")
    return Best(column.name, window, least, str(mode))


def _usual(name: str) -> str | None:
    """Of losses less is better: of all, of an action, of an output, while training or not."""
    words = name.split("_")
    return "min" if "loss" in (words[0], words[-1]) else None


def _count(value: Any, shown: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{shown}: at least 1 is needed")
    return int(value)
