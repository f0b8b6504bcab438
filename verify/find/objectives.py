"""Whether the gradients that update variables are those of a function, however that is written.

Structure is the fast way to say yes. Else both are evaluated with the same: with what the step is
handed, what variables hold when its backward pass reads them, and random numbers, paired by what is
drawn and in which order.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from verify.find.observed import Array, Observed
from verify.find.passes import Both, Pass
from verify.find.step_feeds import FED, LATER, StepFeed, probabilities
from verify.flow import Update, reached, ways
from verify.graphs import READS, RESHAPES, Tensor
from verify.match import Evaluation, Match, NoValueError, Pattern
from verify.references import ObjectiveGradients

_TOLERANCE = 1e-4  # of the largest element: constants have seven digits
_NOTHING = 1e-9  # of the largest gradient of all: there, only rounding is left
_ENOUGH = 2  # draws in which all is finite, and something is not zero


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How the gradient that updates a variable compares with that of a function.

    `factor`: the number that the function's is multiplied by; None if there is none. `zero`: both
    are zero, whatever they are made of. `unknown`: why it can't be told.
    """

    factor: float | None = None
    zero: bool = False
    unknown: str = ""


class Objectives:
    """Answers about one step, or one branch of it."""

    def __init__(self, observed: Observed) -> None:
        self.observed, self.step, self.flow = observed, observed.step, observed.flow
        self.flat = observed.flat

    def compared(
        self, updates: Iterable[Update], reference: ObjectiveGradients
    ) -> dict[Update, Comparison]:
        """How the gradients of updates compare with those of a function that depends on them."""
        roles = {node: f"argument {i}" for i, node in enumerate(reference.flat.arguments)}
        pattern = Pattern(reference.flat, tuple(reference.gradients.values()), roles)
        found: dict[Update, Comparison] = {}
        left: dict[frozenset[int], list[Update]] = {}
        for update in updates:
            way = self.ways.get(update)
            if way is None:
                found[update] = Comparison(unknown=self._unseen(update))
                continue
            root = reference.gradients[update.variable.key]
            if any(self._is_alike(pattern, root, tensor) for tensor in self._moved(way)):
                found[update] = Comparison(1.0)
            else:
                above = self.above([way[0][0]])
                left.setdefault(frozenset(above & self._seeds), []).append(update)
        for together in left.values():
            found |= self._evaluated({u: self.ways[u][0] for u in together}, reference)
        return _told_apart(found)

    def compared_at(
        self, tensors: Mapping[Update, Tensor], reference: ObjectiveGradients
    ) -> dict[Update, Comparison]:
        """The same of other tensors on their way, such as what enters an optimizer."""
        return _told_apart(self._evaluated(tensors, reference))

    def _evaluated(
        self, tensors: Mapping[Update, Tensor], reference: ObjectiveGradients
    ) -> dict[Update, Comparison]:
        """How tensors of one backward pass compare in values."""
        above = self.above(node for node, _ in tensors.values())
        begins = min(above & self._seeds, default=0)
        first: dict[Update, Comparison] | None = None
        for both in Pass(self, reference.flat, above, begins).evaluations():
            found = self._held_against(tensors, reference, both)
            if all(one.factor is not None for one in found.values()):
                return found
            if first is None or any(one.unknown for one in first.values()):
                first = found
        return first or {}

    def _held_against(
        self, gradients: Mapping[Update, Tensor], reference: ObjectiveGradients, evaluated: Both
    ) -> dict[Update, Comparison]:
        both: dict[Update, list[tuple[Array, Array]]] = {update: [] for update in gradients}
        why = ""  # no value in the first draw: later ones have more classes than there may be
        enough: dict[Update, Comparison] = {}
        for draw in (*self.draws, *LATER):
            if enough and draw not in LATER:
                continue
            try:
                here, there = evaluated(draw)
                values = {
                    update: (
                        self.value(here, update, tensor),
                        _array(there.value(reference.gradients[update.variable.key])),
                    )
                    for update, tensor in gradients.items()
                }
            except NoValueError as error:
                why = why or str(error)
                continue
            every = [value for pair in values.values() for value in pair]
            if not all(np.isfinite(value).all() for value in every):
                continue
            largest = max(float(np.abs(value).max(initial=0)) for value in every) or 1.0
            for update, (one, other) in values.items():
                both[update].append((one / largest, other / largest))
            if enough or len(both[update]) == _ENOUGH:
                enough = {update: _comparison(values) for update, values in both.items()}
                if any(one.factor is None for one in enough.values()):
                    break
        if enough:
            return enough
        why = why or "in no draw of its arguments are all values finite"
        return {update: Comparison(unknown=why) for update in gradients}

    def _moved(self, way: tuple[Tensor, ...]) -> Iterator[Tensor]:
        """What backpropagation ends in, and the same in other shapes."""
        yield way[0]
        moved = itertools.takewhile(lambda t: self.flat.node(t).op in RESHAPES, way[1:])
        yield from moved

    def above(self, ends: Iterable[int]) -> set[int]:
        """All that some nodes are computed from, but for what was written before it was read."""
        return reached(ends, self.sources)

    @functools.cached_property
    def sources(self) -> list[list[int]]:
        """What each node takes."""
        return [[source for source, _ in node.data] for node in self.flat.nodes]

    @functools.cached_property
    def _seeds(self) -> frozenset[int]:
        return frozenset(seed.node for seed in self.flow.seeds)

    @functools.cached_property
    def ways(self) -> dict[Update, tuple[Tensor, ...]]:
        """What the gradient of each trained update passes; see `verify.flow`."""
        return {} if self.step.replicas > 1 else dict(ways(self.flow, self.flow.trained))

    def _unseen(self, update: Update) -> str:
        if self.step.replicas > 1:
            return "the step runs on several replicas: assert on the function that runs on one"
        return "several gradients are added up in its update"

    @functools.cached_property
    def _fed(self) -> dict[str, Tensor]:
        """The tensors that the step is handed, by their role in a reference."""
        tensors = () if self.step.arguments is None else self.step.arguments.tensors
        return {f"argument {i}": tensor for i, tensor in enumerate(tensors) if tensor is not None}

    def _is_alike(self, pattern: Pattern, root: Tensor, gradient: Tensor) -> bool:
        """Whether structure shows that a gradient is that of the function, a root."""
        if root[0] in pattern.leaves:
            return False
        match = self.flow.matcher.unify(pattern, root, gradient, {}, self._fed)
        return isinstance(match, Match) and not self._is_written_between(match.nodes)

    def _is_written_between(self, nodes: Iterable[int]) -> bool:
        """Whether some of these nodes read a variable before a write, and others after it."""
        read: dict[int | str, list[int]] = {}
        for node in (self.flat.nodes[index] for index in nodes):
            if node.op in READS and (variable := self.flat.variable(node)) is not None:
                read.setdefault(variable.key, []).append(node.index)
        return any(
            variable.key in read and min(read[variable.key]) < node.index < max(read[variable.key])
            for node, variable in self.flat.writes()
        )

    draws = tuple(draw for draw in FED if draw not in LATER)
    """Which draws there are, of what a step is handed."""

    @functools.cached_property
    def _evaluations(self) -> dict[tuple[int, bool, frozenset[Tensor]], Evaluation]:
        return {}

    def evaluation(
        self, draw: int, now: bool = True, rows: frozenset[Tensor] = frozenset()
    ) -> Evaluation:
        """The step, in one draw.

        `now`: scalar variables hold what they do now; `rows`: arguments that are probabilities
        besides those that the step takes as such.
        """
        rows |= self._rows
        if (draw, now, rows) not in self._evaluations:
            feed = StepFeed(self.observed, draw, now, rows)
            self._evaluations[draw, now, rows] = Evaluation(self.observed.plan, feed)
        return self._evaluations[draw, now, rows]

    def evaluation_with(self, draw: int, cut: Mapping[Tensor, Any]) -> Evaluation:
        """The step in one draw, but for these tensors."""
        feed = StepFeed(self.observed, draw, now=True, rows=self._rows)
        return Evaluation(self.observed.plan, feed, cut)

    @functools.cached_property
    def _rows(self) -> frozenset[Tensor]:
        return probabilities(self.flat, self._fed.values())

    def value(self, here: Evaluation, update: Update, gradient: Tensor) -> Array:
        """A gradient, flat; one that consists of rows as that of the whole variable."""
        rows = self.observed.rows_of(update, gradient)
        if rows is None:
            return _array(here.value(gradient))
        whole = np.zeros([size or 0 for size in update.variable.shape])
        numbers = np.asarray(here.value(min(rows.numbers))).reshape(-1)
        np.add.at(whole, numbers, np.asarray(here.value(gradient)).reshape(-1, *whole.shape[1:]))
        return whole.reshape(-1)


def _told_apart(found: dict[Update, Comparison]) -> dict[Update, Comparison]:
    """Comparisons that tell something: where all is zero, nothing is."""
    if found and all(one.zero for one in found.values()):
        return dict.fromkeys(found, Comparison(unknown="all gradients are zero"))
    return found


def _array(value: Any) -> Array:
    return np.asarray(value, np.float64).reshape(-1)


def _comparison(pairs: Sequence[tuple[Array, Array]]) -> Comparison:
    """How gradients, each as a share of the largest in its draw, compare with others."""
    if any(one.shape != other.shape for one, other in pairs):
        return Comparison()
    ours = np.concatenate([one for one, _ in pairs])
    theirs = np.concatenate([other for _, other in pairs])
    apart, size = _largest(ours - theirs), max(_largest(ours), _largest(theirs))
    if apart <= _TOLERANCE * size + _NOTHING:
        return Comparison(1.0, zero=size <= _NOTHING)
    factor = float(ours @ theirs / (theirs @ theirs)) if theirs.any() else 0.0
    if (
        _largest(theirs)
        and _largest(ours - factor * theirs) <= _TOLERANCE * _largest(ours) + _NOTHING
    ):
        return Comparison(factor)
    return Comparison()


def _largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0))
