"""Numbers that follow a count, for weights and rates: ramps, half cosines, steps; least, greatest.

Like all graph predicates they are computed before every train step, in float64.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loopctl.config.predicate_values import Values
from loopctl.config.predicates import Counter, Number, as_number, both_alike

BATCHES = Counter("batches")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Ramp(Number):
    """From `start`, at a count of zero and below, to `end`, from `over` on: on a straight line, or
    on half a period of a cosine."""

    form: str
    start: float
    end: float
    over: float
    of: Number

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.of,)

    def evaluate(self, values: Values) -> Any:
        zero, one = values.constant(0.0), values.constant(1.0)
        done = values.real(self.of.evaluate(values)) / values.constant(float(self.over))
        # A count that is not known yet, NaN, is neither: the outcome is NaN as well.
        done = values.where(done < zero, zero, values.where(done > one, one, done))
        if self.form == "cosine":
            done = (one - values.cosine(done * values.constant(math.pi))) / values.constant(2.0)
        start, end = values.constant(float(self.start)), values.constant(float(self.end))
        return start * (one - done) + end * done  # exact at both ends

    def __repr__(self) -> str:
        return f"when.{self.form}({self.start!r}, {self.end!r}, over={self.over!r}{_of(self.of)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Piecewise(Number):
    """One number after another: the next from each boundary on."""

    boundaries: tuple[float, ...]
    steps: tuple[float, ...]
    of: Number

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.of,)

    def evaluate(self, values: Values) -> Any:
        count = values.real(self.of.evaluate(values))
        found = values.constant(float(self.steps[0]))
        for boundary, step in zip(self.boundaries, self.steps[1:], strict=True):
            reached = count >= values.constant(float(boundary))
            found = values.where(reached, values.constant(float(step)), found)
        return values.where(count == count, found, count)  # NaN of NaN

    def __repr__(self) -> str:
        return f"when.piecewise({[*self.boundaries]!r}, {[*self.steps]!r}{_of(self.of)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Extreme(Number):
    """The smaller or the larger of two numbers; NaN if one of them is."""

    name: str
    left: Number
    right: Number

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.left, self.right

    def evaluate(self, values: Values) -> Any:
        left, right = both_alike(values, self.left, self.right)
        first = left <= right if self.name == "minimum" else left >= right
        return values.where(first | (left != left), left, right)

    def __repr__(self) -> str:
        return f"when.{self.name}({self.left!r}, {self.right!r})"


def _of(count: Number) -> str:
    return "" if isinstance(count, Counter) and count.name == "batches" else f", of={count!r}"


def linear(start: float, end: float, *, over: float, of: Number = BATCHES) -> Number:
    """A number that goes from `start` to `end` in a straight line.

    Args:
        start, end: the values up to a count of zero, and from a count of `over` on.
        over: the count that it takes.
        of: what is counted: train steps by default, or another counter or expression such as
            ``when.epochs`` or ``when.batches - 100``.

    Raises:
        TypeError, ValueError: an argument is not such a number.
    """
    return _ramp("linear", start, end, over, of)


def cosine(start: float, end: float, *, over: float, of: Number = BATCHES) -> Number:
    """A number that goes from `start` to `end` along half a period of a cosine; see `linear`."""
    return _ramp("cosine", start, end, over, of)


def piecewise(
    boundaries: Sequence[float], values: Sequence[float], *, of: Number = BATCHES
) -> Number:
    """A number that is the first of `values`, and the next one from each boundary on.

    Args:
        boundaries: counts in increasing order.
        values: one more than there are boundaries.
        of: what is counted, as for `linear`.

    Raises:
        TypeError, ValueError: an argument is not such a sequence.
    """
    shown = f"when.piecewise({boundaries!r}, {values!r})"
    for given in (boundaries, values):
        if not isinstance(given, list | tuple):
            raise TypeError(f"{shown}: two lists of numbers are needed, not {given!r}")
    bounds = tuple(finite_number(bound, shown) for bound in boundaries)
    steps = tuple(finite_number(value, shown) for value in values)
    if not bounds or len(steps) != len(bounds) + 1:
        raise ValueError(
            f"{shown} has {len(bounds)} boundaries and {len(steps)} values: at least one boundary "
            "and one value more than boundaries are needed"
        )
    if any(later <= bound for bound, later in itertools.pairwise(bounds)):
        raise ValueError(f"{shown}: each boundary has to be larger than the one before")
    return Piecewise(bounds, steps, _count(of, shown))


def minimum(left: Any, right: Any) -> Number:
    """The smaller of two numbers; NaN if one of them is."""
    return Extreme("minimum", as_number(left), as_number(right))


def maximum(left: Any, right: Any) -> Number:
    """The larger of two numbers; NaN if one of them is."""
    return Extreme("maximum", as_number(left), as_number(right))


def _ramp(form: str, start: float, end: float, over: float, of: Number) -> Number:
    shown = f"when.{form}({start!r}, {end!r}, over={over!r})"
    length = finite_number(over, shown)
    if length <= 0:
        raise ValueError(f"{shown}: over has to be above zero")
    return Ramp(
        form, finite_number(start, shown), finite_number(end, shown), length, _count(of, shown)
    )


def finite_number(value: Any, shown: str) -> float:
    """A finite number as Python's own: its text becomes source.

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{shown}: {value!r} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"{shown}: {value!r} is not finite")
    return int(value) if isinstance(value, int) else float(value)


def _count(of: Any, shown: str) -> Number:
    if not isinstance(of, Number):
        raise TypeError(f"{shown}: of={of!r} is not a counter, such as when.epochs")
    return of
