"""Which gradients of a step have the values that the gradient of a regulariser has.

However a term is written, its gradient by a variable is a function of that variable alone. What the
variable holds is cut and fed with numbers, in several draws, and what the step adds to the gradient
is held against what the regulariser has on the same. Equal up to a constant: that is its weight.
"""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.loss_draws import Comparison, NumbersFed, Summands
from verify.find.loss_places import alike
from verify.find.search import Found, Search, plain_number
from verify.flow import Update, ways
from verify.graphs import Tensor
from verify.match import Domain, Evaluation, NoValueError, Pattern, Plan, drawn
from verify.references import (
    FAMILIES,
    RegulariserGradient,
    family_gradients,
    format_call,
)

Array = np.ndarray[Any, Any]

_DRAWS = 4  # of what a variable holds
_MOST_PARTS = 6  # of a gradient, of which sums are looked at
_TOLERANCE = 5e-4  # of the largest element
_NO_NUMBERS: Mapping[int | str, float] = {}
_NOTHING = 1e-6  # of the largest parameter of a regulariser that has several


class TermsByValue:
    """Answers about one step, or one branch of it."""

    def __init__(self, search: Search) -> None:
        self.search, self.flow, self.flat = search, search.flow, search.flat
        self._plan = Plan(self.flat)
        self._values: dict[tuple[Any, ...], Callable[[Tensor], Array]] = {}

    def of(self, update: Update, pattern: Pattern) -> list[Found]:
        """Where the gradient of a regulariser by the updated variable reaches that update."""
        gradient = RegulariserGradient(pattern)
        comparison = Comparison(self._sums(update))
        for draw in range(_DRAWS):
            expected = gradient(self._held(update, draw)) if comparison.left else None
            if expected is not None:
                comparison.add(expected, self._numbers(update, draw))
        hits = list(comparison.factors())
        return [self._found(update, summands, factor) for summands, factor in self._last(hits)]

    def factor(
        self,
        update: Update,
        pattern: Pattern,
        nodes: frozenset[int],
        numbers: Mapping[int | str, float],
    ) -> float | None:
        """What the gradient of a regulariser is multiplied by at some nodes; None if by no number.

        `numbers`: what scalar variables hold, by key.
        """
        gradient = RegulariserGradient(pattern)
        comparison = Comparison([tuple((index, 0) for index in sorted(nodes))])
        for draw in range(_DRAWS):
            expected = gradient(self._held(update, draw))
            if expected is not None:
                comparison.add(expected, self._numbers(update, draw, numbers))
        return next((factor for _, factor in comparison.factors()), None)

    def family(self, update: Update, besides: Set[int]) -> tuple[str, Found] | None:
        """A regulariser of Keras that the updated variable has, by name; None if there is none.

        `besides`: nodes of other terms.
        """
        spec = update.variable.shape, update.variable.dtype
        for name in FAMILIES:
            gradients = family_gradients(name, spec)
            if gradients is None:
                continue
            sums = (some for some in self._sums(update) if besides.isdisjoint(n for n, _ in some))
            for summands in reversed([*sums]):
                parameters = self._parameters(update, summands, gradients)
                if parameters is None:
                    continue
                given = dict(zip(FAMILIES[name], parameters, strict=True))
                # Of two parameters one may be none: that is the smaller family, which comes next.
                if all(given.values()):
                    return format_call(name, given), self._found(update, summands, 1.0)
        return None

    def _parameters(
        self, update: Update, summands: Summands, gradients: Sequence[RegulariserGradient]
    ) -> list[float] | None:
        """What gradients have to be multiplied by to be, together, what the step computes."""
        known, wanted = list[Array](), list[Array]()
        for draw in range(_DRAWS):
            held, numbers = self._held(update, draw), self._numbers(update, draw)
            parts = [gradient(held) for gradient in gradients]
            try:
                there = np.sum([numbers(tensor) for tensor in summands], axis=0)
            except NoValueError:
                return None
            if there.shape != held.shape or not np.isfinite(there).all():
                return None
            if any(part is None or not np.isfinite(part).all() for part in parts):
                return None
            size = float(np.abs(there).max(initial=0.0)) or 1.0
            columns = [np.asarray(part).reshape(-1) / size for part in parts]
            known.append(np.stack(columns, axis=1))
            wanted.append(there.reshape(-1) / size)
        rows, target = np.concatenate(known), np.concatenate(wanted)
        solved: Array = np.linalg.lstsq(rows, target, rcond=None)[0]
        if not target.any() or np.abs(rows @ solved - target).max() > _TOLERANCE:
            return None
        largest = float(np.abs(solved).max())
        return [
            plain_number(float(one)) if abs(one) > _NOTHING * largest else 0.0 for one in solved
        ]

    # -- what is there -----------------------------------------------------------------------------

    def _candidates(self, update: Update) -> list[Tensor]:
        """What a variable alone decides of its gradient, and that it may be all of it."""
        variable = update.variable
        below = self.flow.descendants(self._reads[variable.key], without=self.search.of_data)
        # Where backpropagation ends; after that, an optimizer multiplies by its rate.
        end = dict(ways(self.flow, [update])).get(update)
        last = self.flow.propagated if end is None else self.flow.ancestors([end[0][0]])
        spec = variable.shape, variable.dtype
        return [
            (index, 0)
            for index in sorted(below & last & self.flow.backward)
            if alike(self.flow.spec((index, 0)), spec) and self.search.is_upstream((index, 0))
        ]

    @functools.cached_property
    def _known_sums(self) -> dict[int, list[Summands]]:
        return {}

    def _sums(self, update: Update) -> list[Summands]:
        """These, and sums of some of those that nothing of them is made of."""
        if update.node.index not in self._known_sums:
            every = self._candidates(update)
            made_of = [self.flow.descendants([index]) - {index} for index, _ in every]
            ends = [
                tensor
                for tensor, below in zip(every, made_of, strict=True)
                if not any(index in below for index, _ in every)
            ][: _MOST_PARTS + 1]
            sums = (
                some
                for size in range(2, len(ends) + 1 if len(ends) <= _MOST_PARTS else 0)
                for some in itertools.combinations(ends, size)
            )
            self._known_sums[update.node.index] = [*((tensor,) for tensor in every), *sums]
        return self._known_sums[update.node.index]

    @functools.cached_property
    def _reads(self) -> Mapping[int | str, list[int]]:
        """By key of each variable, the nodes that read it."""
        found = collections.defaultdict[int | str, list[int]](list)
        for node, variable in self.flat.reads():
            found[variable.key].append(node.index)
        return found

    def _held(self, update: Update, draw: int) -> Array:
        shape = update.variable.shape
        return drawn((shape, "float64"), Domain.REAL, draw, "regularised")

    def _numbers(
        self, update: Update, draw: int, numbers: Mapping[int | str, float] = _NO_NUMBERS
    ) -> Callable[[Tensor], Array]:
        """What tensors are where the variable holds what is drawn.

        `numbers`: what others by themselves are, by key; all other numbers are 1.
        """
        key = update.variable.key, draw, *sorted(numbers.items(), key=str)
        if key not in self._values:
            held = tf.constant(self._held(update, draw))
            reads = self._reads[update.variable.key]
            cut: Mapping[Tensor, Any] = dict.fromkeys(((index, 0) for index in reads), held)
            evaluation = Evaluation(self._plan, NumbersFed(draw, numbers), cut)

            def number(tensor: Tensor) -> Array:
                return np.asarray(evaluation.value(tensor), np.float64)

            self._values[key] = functools.cache(number)
        return self._values[key]

    # -- what was found ----------------------------------------------------------------------------

    def _last(self, hits: Sequence[tuple[Summands, float]]) -> Iterator[tuple[Summands, float]]:
        """Those that no other is made of: what comes after may change the factor. Sums first."""
        nodes = {index for summands, _ in hits for index, _ in summands}
        known = set[int]()
        for summands, factor in sorted(hits, key=lambda hit: -len(hit[0])):
            own = {index for index, _ in summands}
            if known.isdisjoint(own) and not (self.flow.descendants(own) & nodes) - own:
                known |= own
                yield summands, factor

    def _found(self, update: Update, summands: Summands, factor: float) -> Found:
        reads = self._reads[update.variable.key]
        nodes = frozenset(index for index, _ in summands)
        of_it = self.flow.descendants(reads)
        return self.search.found(nodes, (min(reads), 0), None, factor, of_it)
