"""Plain gradient descent, told by its rate: one number, or that of a schedule by hand.

In a variable of few elements nearly any gradient fits a rate that is another in each draw: it has
to explain two of them, or to be the rate of another variable as well.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from verify.find.observed import DRAWS, Array, Observed
from verify.find.optimizer_updates import elements
from verify.find.shapes import Shapes
from verify.graphs import Tensor
from verify.match import NoValueError

_EXACT = 1e-6  # of the largest change, of one number times a tensor
_NO_DECAY = 1e-6  # beside the largest gradients, a share is not told more exactly
_MOST_DECAY = 0.5  # what takes more of a variable in a step is no decay
_TELLING = 4  # elements that two numbers have to explain, at the least
_FEW = 3  # elements of a variable in which nearly any gradient fits
_ENOUGH = 2  # draws in which the update is made
_ROUNDED = 1e-15  # of what a variable held: less than that is lost where a rate is tiny

Rates = Mapping[int, float]
"""The rate in each draw in which an update is made."""


@dataclasses.dataclass(frozen=True)
class Descent:
    """How one variable goes down its gradient.

    `place`: that of what is multiplied by the rate, on the way of the gradient. `rates`: by draw;
    `rate`: if that is one number. `decay`: the share of the variable that is subtracted too.
    `decided`: whether no part of the rate may as well be a factor of the gradient.
    """

    place: int
    rates: Rates = dataclasses.field(compare=False)
    rate: float | None = None
    decay: float = 0.0
    decided: bool = True


@dataclasses.dataclass(frozen=True)
class _Change:
    """What is subtracted from a variable in one draw, beside a gradient and what it held."""

    draw: int
    gradient: Array
    held: Array
    change: Array


class Descents:
    """Answers about one step, or one branch of it."""

    def __init__(self, observed: Observed) -> None:
        self.observed, self.flow = observed, observed.flow
        self._known: dict[int | str, tuple[int, Rates] | None] = {}

    def of(self, groups: Mapping[int | str, Sequence[int | str]]) -> dict[int | str, Descent]:
        """Which variables go down their gradients, by key: the first of those updated alike."""
        found = {key: one for key in groups if (one := self._of(key)) is not None}
        scheduled = [one.rates for one in found.values() if one.rate is None]
        for key, alike in groups.items():
            rates = self._at_rates(key)
            if rates is None or (key in found and found[key].rate is None):
                continue
            others = (self._at_rates(k) for k in dict.fromkeys((*groups, *alike)) if k != key)
            if self._size(key) > 1 or any(
                _are_same(rates[1], one)
                for one in (*scheduled, *(other[1] for other in others if other is not None))
            ):
                found[key] = Descent(*rates)
        return found

    def _of(self, key: int | str) -> Descent | None:
        """Whether a gradient times a number is subtracted, and perhaps a share of the variable.

        A number that a variable holds is a learning rate. Else it may be a factor of the gradient
        as well, and what comes first that is multiplied by one number enters. A number that is
        another in each draw is the rate where no gradient decides it, as of a schedule; else only
        where nothing else is.
        """
        found: list[Descent] = []
        for place, tensor in self._way(key):
            fits = (self._fit(key, tensor, shapes) for shapes in self.observed.shapes)
            fit = next((one for one in fits if one is not None), None)
            if fit is None:
                continue
            rates, decay = fit
            first = next(iter(rates.values()))
            if not _is_constant(rates):
                found.append(Descent(place, rates, None, decay))
                continue
            decided = self._is_number(key, tensor, first)
            found.append(Descent(place, rates, float(first), decay, decided))
        constant = [one for one in found if one.rate is not None]
        decided_ones = [one for one in constant if one.decided]
        ways = self.observed.ways[key]
        scheduled = (d for d in found if d.rate is None and self._is_scheduled(key, ways[d.place]))
        return next(iter((*scheduled, *decided_ones, *constant, *found)), None)

    def _way(self, key: int | str) -> Iterator[tuple[int, Tensor]]:
        """What a gradient passes before anything is added that was kept from steps before."""
        way = () if self.observed.begins_late(key) else self.observed.ways[key]
        for place, tensor in enumerate(way):
            if self.observed.is_of_state(key, tensor):
                break
            yield place, tensor

    def _is_scheduled(self, key: int | str, entry: Tensor) -> bool:
        """Whether no gradient decides what the entry is multiplied by: it meets none on its way."""
        nodes, end = self.observed.flat.nodes, self.observed.updates[key].node.index
        way = self.observed.on_ways(entry[0], end) - self.flow.checks
        decides = self.flow.backward - self.flow.checks
        taken = ([source for source, _ in nodes[i].data] for i in way - {entry[0]})
        return all(sum(source in decides | way for source in sources) <= 1 for sources in taken)

    def _is_number(self, key: int | str, tensor: Tensor, rate: float) -> bool:
        """Whether a variable that is read after the entry holds this number: a learning rate."""
        read = self.observed.read_between(tensor, self.observed.updates[key].node.index)
        held = (self.observed.step.numbers.get(variable.key, 0.0) for variable in read)
        return any(np.isclose(abs(rate), value, rtol=_EXACT, atol=0) for value in held)

    def _changes(self, key: int | str, tensor: Tensor, shapes: Shapes) -> list[_Change]:
        """What is subtracted in the draws in which the update is made; nothing if not known."""
        update, found = self.observed.updates[key], list[_Change]()
        for draw in range(DRAWS):
            try:
                if not self.observed.is_made(update, draw, shapes):
                    continue
                evaluation = self.observed.evaluation(draw, shapes)
                held = elements(self.observed.feed(draw, shapes).variable(update.variable))
                change = held - elements(evaluation.final(update.variable))
                gradient = self.observed.fed_rows.whole(key, evaluation.value(tensor), shapes)
            except NoValueError:
                return []
            size = np.abs(gradient).max(initial=0)
            if gradient.shape != change.shape or not np.isfinite(change).all() or size == 0:
                return []
            found.append(_Change(draw, gradient / size, held / size, change / size))
        return found if len(found) >= _ENOUGH else []

    def _fit(self, key: int | str, tensor: Tensor, shapes: Shapes) -> tuple[Rates, float] | None:
        """(the rates, the share of the variable); None if that is not what is done."""
        draws = self._changes(key, tensor, shapes)
        if not draws:
            return None
        columns = [np.stack([one.gradient, one.held], axis=1) for one in draws]
        changes = [one.change for one in draws]
        fit = _solved(np.concatenate(columns), np.concatenate(changes))
        fits = [fit] * len(draws)
        if fit is None and len(changes[0]) > _FEW:  # another rate in each draw, perhaps
            fits = [_solved(*one) for one in zip(columns, changes, strict=True)]
        solved = [one for one in fits if one is not None]
        if len(solved) < len(draws):
            return None
        decay = float(np.median([share for _, share in solved]))
        alike = all(np.isclose(share, decay, rtol=1e-3, atol=_NO_DECAY) for _, share in solved)
        if not alike or abs(decay) > _MOST_DECAY:
            return None
        rates = {one.draw: rate for one, (rate, _) in zip(draws, solved, strict=True)}
        return rates, decay if abs(decay) > _NO_DECAY else 0.0

    # -- of few elements ---------------------------------------------------------------------------

    def _size(self, key: int | str) -> int:
        return math.prod(n or 1 for n in self.observed.updates[key].variable.shape)

    def _at_rates(self, key: int | str) -> tuple[int, Rates] | None:
        """(place, rates) of what first fits a rate that is another in each draw, with no decay."""
        if key not in self._known:
            self._known[key] = self._proportional(key)
        return self._known[key]

    def _proportional(self, key: int | str) -> tuple[int, Rates] | None:
        if key not in self.observed.ways or self._size(key) > _FEW:
            return None
        for place, tensor in self._way(key):
            for shapes in self.observed.shapes if self._is_scheduled(key, tensor) else ():
                draws = self._changes(key, tensor, shapes)
                rates = {d.draw: _ratio(d) for d in draws}
                exact = all(
                    np.abs(rates[d.draw] * d.gradient - d.change).max() <= _off(d.change, d.held)
                    for d in draws
                )
                if draws and exact and not _is_constant(rates):
                    return place, rates
        return None


def _ratio(one: _Change) -> float:
    return float((one.gradient @ one.change) / (one.gradient @ one.gradient))


def _is_constant(rates: Rates) -> bool:
    first, *others = rates.values()
    return bool(np.allclose(others, first, rtol=_EXACT, atol=0))


def _are_same(one: Rates, other: Rates) -> bool:
    draws = one.keys() & other.keys()
    alike = (np.isclose(one[d], other[d], rtol=1e-5, atol=1e-12) for d in draws)
    return len(draws) >= _ENOUGH and all(alike)


def _solved(columns: Array, change: Array) -> tuple[float, float] | None:
    """The numbers that two columns are multiplied by to make a change; None if none do."""
    if len(change) < _TELLING:
        return None
    found, *_ = np.linalg.lstsq(columns, change, rcond=None)
    off = np.abs(columns @ found - change).max()
    return (float(found[0]), float(found[1])) if off <= _off(change, columns[:, 1]) else None


def _off(change: Array, held: Array) -> float:
    """By how much what explains a change of what a variable held may miss it."""
    return float(_EXACT * np.abs(change).max() + _ROUNDED * np.abs(held).max())
