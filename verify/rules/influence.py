"""What decides the gradients of a step, told by values: of the whole step, in several draws.

Where other values of what a step is handed leave every gradient as it was, in each draw, they
decide nothing that is trained.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find import Detector
from verify.flow import Update
from verify.graphs import Tensor, VariableRef
from verify.match import NUMBERS, Evaluation, NoValueError, concrete

Array = np.ndarray[Any, Any]
Gradients = dict[Update, Array]
Change = Callable[[Array], Array]

_DRAWS = (0, 1)  # in which whole numbers are of two classes
_FEW = (0, 1, 2, 6)
_EVERY = (0, 1, 2, 3, 4, 6, 7, 9, 10)
_TOLD = 3  # draws that have to agree, at the least
_SAME = 1e-9  # of the largest gradient
_NOTHING = 1e-12  # a gradient
_MUCH = 1e-4  # of what is differentiated
_MOST_CONSTANTS = 64  # of one array
_MOST_NUMBERS = 48
_MOST_FED = 1 << 21  # elements that a step is handed


class Influence:
    """Answers about one step, or one branch of it; None where they can't be told."""

    def __init__(self, detector: Detector) -> None:
        self.detector, self.flow, self.flat = detector, detector.flow, detector.flat
        self.values = detector.gradient_values

    @property
    def is_told(self) -> bool:
        """Whether a step is small enough to be evaluated, and trains anything."""
        return self._is_small and bool(self.flow.trained)

    @functools.cached_property
    def _is_small(self) -> bool:
        shapes = [
            s for i in self.flat.arguments for s in self.flat.nodes[i].shapes if s is not None
        ]
        fed = sum(math.prod(concrete(shape, 0)) for shape in shapes)
        small = self.values.observed.is_small and fed <= _MOST_FED
        return small and self.detector.step.replicas == 1

    # -- what decides gradients --------------------------------------------------------------------

    def ignores(self, tensors: Iterable[Tensor]) -> bool | None:
        """Whether what some tensors hold decides no gradient, though some gradient is not zero."""
        return self._are_all_same(list(tensors), in_some_rows)

    def ignores_row(self, tensors: Iterable[Tensor], row: int) -> bool | None:
        """The same of one row of all of these tensors, while what the others hold does."""
        changed = list(tensors)
        same = self._are_all_same(changed, lambda change: functools.partial(_in_row, change, row))
        return same and self._is_same(changed, _other) is False

    def _are_all_same(
        self, tensors: list[Tensor], within: Callable[[Change], Change]
    ) -> bool | None:
        """Whether no change of what some tensors hold decides a gradient."""
        return self._under_every_change(lambda change: self._is_same(tensors, within(change)))

    def _under_every_change(self, holds: Callable[[Change], bool | None]) -> bool | None:
        """Whether something holds under every change: of those at least that lead to where it has
        a value, among which the first has to be."""
        first, *others = self.changes
        return holds(first) and all(holds(change) is not False for change in others)

    @functools.cached_property
    def changes(self) -> tuple[Change, ...]:
        """Ways to other numbers, each of which keeps something that a step may look at alone."""
        near = [functools.partial(way, number) for number in self._numbers for way in _NEAR]
        return _other, _reversed, _opposite, *near

    def _is_same(self, tensors: list[Tensor], change: Change) -> bool | None:
        told = 0
        for draw in _DRAWS:
            before = self.gradients(draw)
            if before is None or not any(one.any() for one in before.values()):
                continue
            base = self.values.evaluation(draw)
            try:
                cut = {t: change(np.asarray(base.value(t))) for t in tensors}
            except NoValueError:
                continue
            after = self.gradients(draw, cut)
            if after is None:
                continue
            told += 1
            scale = max(float(np.abs(one).max(initial=0)) for one in before.values())
            if any(
                np.abs(before[update] - after[update]).max(initial=0) > _SAME * scale
                for update in before
            ):
                return False
        return True if told == len(_DRAWS) else None

    def leaves(self, updates: Iterable[Update]) -> bool | None:
        """Whether no value that a step is handed decides what updates write."""
        if not self._is_small:
            return None
        variables = [update.variable for update in updates]
        return self._under_every_change(lambda change: self._leaves(variables, change))

    def _leaves(self, variables: list[VariableRef], change: Change) -> bool | None:
        for draw in _DRAWS:
            base = self.values.evaluation(draw)
            try:
                cut = {t: tf.constant(v) for t, v in self._others(base, change).items()}
                other = self.values.evaluation_with(draw, cut)
                for variable in variables:
                    before, after = (
                        np.asarray(one.final(variable), np.float64) for one in (base, other)
                    )
                    size = np.abs(before).max(initial=0)
                    if np.abs(before - after).max(initial=0) > _SAME * size:
                        return False
            except NoValueError:
                return None
        return True

    @functools.cached_property
    def interacts(self) -> bool:
        """Whether what the batch does to what is differentiated depends on weights.

        Then gradients depend on the batch, unless something in between has none.
        """
        return self.is_told and any(map(self._interacts, _FEW))

    def _interacts(self, draw: int) -> bool:
        base = self.values.evaluation(draw)
        ends = [one for seed in self.flow.seeds for one in self.flow.sums_of(seed)[-1:]]
        reads = [(n.index, 0) for n, v in self.flat.reads() if self.flow.is_trainable(v)]
        reads = [t for t in reads if self.flat.node(t).op == "ReadVariableOp"]
        try:
            batch = {t: tf.constant(v) for t, v in self._others(base, _other).items()}
            weights = {t: tf.constant(-np.asarray(base.value(t))) for t in reads}
            plain, fed, moved, both = (
                np.array([np.sum(here.value(end)) for end in ends])
                for cut in ({}, batch, weights, batch | weights)
                for here in [self.values.evaluation_with(draw, cut)]
            )
        except NoValueError:
            return False
        change = np.abs(both - moved - fed + plain)
        return bool((change > _MUCH * np.abs([plain, fed, moved, both]).max(axis=0)).any())

    def _others(self, base: Evaluation, change: Change) -> dict[Tensor, Array]:
        """Other values of all that a step is handed, in some rows."""
        fed = [t for i in self.flat.arguments if (t := (i, 0))[0] not in self.flat.variables]
        told = {t: np.asarray(base.value(t)) for t in fed if self.flat.dtype(t) in NUMBERS}
        return {t: in_some_rows(change)(value) for t, value in told.items()}

    # -- which gradients there are -----------------------------------------------------------------

    @functools.cached_property
    def are_all_zero(self) -> bool | None:
        """Whether every gradient is zero, in each draw, and where it is asked for single numbers.

        A loss may be of those examples alone whose target is 0, say, which no draw of real
        numbers meets.
        """
        told = self._in_every_draw(_are_zero)
        if told and not all(map(_are_zero, self._where_numbers_are_met())):
            return False
        return told

    def _where_numbers_are_met(self) -> Iterator[Gradients]:
        """Gradients where some rows of what is handed in hold a number that the step knows."""
        base = self.values.evaluation(0)
        for index in self.flat.arguments:
            tensor = index, 0
            dtype = self.flat.dtype(tensor)
            if index in self.flat.variables or not dtype.startswith(("float", "int", "uint")):
                continue
            try:
                value = np.asarray(base.value(tensor))
            except NoValueError:
                continue
            for number in self._numbers:
                met = value.copy()
                met[: max(1, len(met) // 2) if met.ndim else ...] = number
                found = self.gradients(0, {tensor: met})
                if found is not None:
                    yield found

    @functools.cached_property
    def _numbers(self) -> list[float]:
        """Constants that gradients are made with, and those that mean something by themselves."""
        above = self.flow.ancestors([update.node.index for update in self.flow.trained])
        values = (self.flow.folder.value((index, 0)) for index in sorted(above))
        small = (v for v in values if v is not None and v.size <= _MOST_CONSTANTS)
        made = [float(n) for v in small if v.dtype.kind in "fiu" for n in v.reshape(-1)]
        every = dict.fromkeys([0.0, 1.0, -1.0, *made])
        return [number for number in every if np.isfinite(number)][:_MOST_NUMBERS]

    @functools.cached_property
    def never_finite(self) -> tuple[Update, ...]:
        """The updates whose gradient is not finite in any draw."""
        left, told = set(self.flow.trained), 0
        for found in self._each_draw(finite=False):
            left &= {update for update, one in found.items() if not np.isfinite(one).all()}
            told += 1
            if not left:
                return ()
        if told < _TOLD:
            return ()
        return tuple(sorted(left, key=lambda update: update.node.index))

    def _in_every_draw(self, holds: Callable[[Gradients], bool]) -> bool | None:
        told = 0
        for found in self._each_draw(finite=True):
            if not holds(found):
                return False
            told += 1
        return True if told >= _TOLD else None

    def _each_draw(self, finite: bool) -> Iterator[Gradients]:
        for draw in _EVERY:
            found = self.gradients(draw, finite=finite)
            if found is not None:
                yield found

    def gradients(
        self, draw: int, cut: Mapping[Tensor, Array] | None = None, *, finite: bool = True
    ) -> Gradients | None:
        """The gradient of each trained update, in one draw, where some tensors hold other values.

        None where it can't be computed or, if that is asked for, is not finite.
        """
        if not self.is_told:
            return None
        fed = {t: tf.constant(value) for t, value in (cut or {}).items()}
        here = self.values.evaluation_with(draw, fed) if fed else self.values.evaluation(draw)
        return self.read(here, finite)

    def read(self, here: Evaluation, finite: bool = True) -> Gradients | None:
        """The gradients in one evaluation."""
        found = {}
        for update in self.flow.trained:
            way = self.values.ways.get(update)
            try:
                if way is not None:
                    found[update] = self.values.value(here, update, way[0])
                else:
                    given = [t for t in update.node.data if t[0] not in self.flat.variables]
                    found[update] = np.asarray(here.value(given[0]), np.float64).reshape(-1)
            except NoValueError:
                return None
        if finite and not all(np.isfinite(one).all() for one in found.values()):
            return None
        return found

    # -- tensors -----------------------------------------------------------------------------------

    def held_by(self, tensor: Tensor) -> Iterator[Array]:
        """What a tensor holds, draw by draw, where it can be computed and is finite."""
        if not self.is_told:
            return
        for draw in _EVERY:
            try:
                value = np.asarray(self.values.evaluation(draw).value(tensor), np.float64)
            except NoValueError:
                continue
            if np.isfinite(value).all():
                yield value

    def always(self, tensor: Tensor, holds: Callable[[Array], bool]) -> bool:
        """Whether something is true of what a tensor holds in every draw; of three at the least."""
        told = 0
        for value in self.held_by(tensor):
            if not holds(value):
                return False
            told += 1
        return told >= _TOLD


def _are_zero(found: Gradients) -> bool:
    return all(np.abs(one).max(initial=0) <= _NOTHING for one in found.values())


def other_row(value: Array, row: int) -> Array:
    """The same values but for one row."""
    return _in_row(_other, row, value)


def _in_row(change: Change, row: int, value: Array) -> Array:
    made = value.copy()
    made[row] = change(value)[row]
    return made


def in_some_rows(change: Change) -> Change:
    """A change of half of the rows: where all classes are exchanged, their groups stay."""

    def changed(value: Array) -> Array:
        other, half = change(value), len(value) // 2 if value.ndim else 0
        return np.concatenate([other[:half], value[half:]]) if half else other

    return changed


def _other(value: Array) -> Array:
    """Other values than these, of the same kind and in the same order."""
    if value.dtype == bool:
        return ~value
    if np.issubdtype(value.dtype, np.integer):
        return 1 - value
    made: Array = (0.5 * value + 0.3).astype(value.dtype)
    return made


def _reversed(value: Array) -> Array:
    """The same values in another order."""
    return np.flip(value, axis=-1)


def _opposite(value: Array) -> Array:
    """Larger values, of the other sign."""
    if not np.issubdtype(value.dtype, np.floating):
        return _other(value)
    made: Array = (-3.0 * value - 0.1).astype(value.dtype)
    return made


def _at(number: float, value: Array) -> Array:
    """A number that the step knows, which it may compare with."""
    with np.errstate(all="ignore"):
        return np.full_like(value, number)


def _above(number: float, value: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.full_like(value, number + 1 + abs(number) / 2)


_NEAR: tuple[Callable[[float, Array], Array], ...] = (_at, _above)
