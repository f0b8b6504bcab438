"""Numbers that counts are fed with, so that each branch that trains is taken in some draws."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from verify.flow import Flow
from verify.graphs import FlatGraph, Tensor, VariableRef
from verify.match import Drawn, Evaluation, NoValueError, Plan

# Steps that were made before: up to 16 of them are counted out in two draws or more.
COUNTS = (0, 1, 11, 720_719, 1_441_439, 2, 4095, 7)
_OFTEN = 2  # of the counts that are fed, a branch is taken at that
_TRIED = 65  # numbers at which a count may choose a branch: from zero
_TOGETHER = 400  # pairs, and so on, of such numbers, where several counts choose

Numbers = Mapping[int | str, int]
"""By the key of a count, how far it has come."""


class _Counted(Drawn):
    """Feeds counts with numbers; what the step sets before it asks may hold anything."""

    def __init__(self, numbers: Numbers, flags: frozenset[int | str]) -> None:
        super().__init__(0)
        self.numbers, self.flags = numbers, flags

    def variable(self, variable: VariableRef) -> tf.Tensor:
        if variable.key in self.flags:
            return tf.constant(False)
        if variable.key not in self.numbers:
            raise NoValueError(f"{variable.path} decides as well")
        dtype = tf.as_dtype(variable.dtype)
        return tf.constant(self.numbers[variable.key] % (dtype.max + 1), dtype)


def counts_fed(flow: Flow, plan: Plan) -> dict[int | str, tuple[int, ...]]:
    """By key of a count, numbers draw by draw, where `COUNTS` would take some branch too seldom.

    Each such branch has draws by turns, and those that `COUNTS` take have one turn as well.
    """
    seldom = _seldom_taken(flow, plan)
    turns = itertools.cycle([*map(itertools.cycle, seldom), None])
    keys = dict.fromkeys(key for taken in seldom for key in taken[0])
    fed: dict[int | str, list[int]] = {key: [] for key in keys}
    usual = iter(COUNTS)
    for draw, turn in zip(range(len(COUNTS)), turns, strict=False):
        numbers = dict.fromkeys(keys, next(usual)) if turn is None else next(turn)
        for key in keys:
            fed[key].append(numbers.get(key, COUNTS[draw]))
    return {key: tuple(numbers) for key, numbers in fed.items()}


def _seldom_taken(flow: Flow, plan: Plan) -> list[list[Numbers]]:
    """Of each branch that trains, and that `COUNTS` take too seldom: where it is taken."""
    flat, found = flow.flat, list[list[Numbers]]()
    choices = (one for u in flow.trained for one in flat.choices(u.node.path))
    for tensor, position in dict.fromkeys((g.predicate, where) for g, where in choices):
        counts, flags = _deciding(flat, tensor)
        if not counts or any(v.shape != () or "int" not in v.dtype for v in counts):
            continue
        choice, keys = _Choice(plan, tensor, position, flags), [v.key for v in counts]
        taken = choice.taken(dict.fromkeys(keys, number) for number in COUNTS)
        if len(taken) < _OFTEN:
            taken += [numbers for numbers in choice.taken(_tried(keys)) if numbers not in taken]
            found += [taken] if taken else []
    return found


def _deciding(flat: FlatGraph, tensor: Tensor) -> tuple[list[VariableRef], frozenset[int | str]]:
    """What a choice is computed from, and the flags in between, which the step sets itself."""
    flags, counts = set[int | str](), dict[int | str, VariableRef]()
    left = flat.read_for([tensor])
    while left:
        variable = left.pop()
        is_flag = variable.dtype == "bool" and variable.shape == ()
        written = [n for n, v in flat.writes() if v.key == variable.key] if is_flag else []
        if not written:
            counts[variable.key] = variable
        elif variable.key not in flags:
            flags.add(variable.key)
            left += [v for n in written for v in flat.read_for(n.data) if v.key != variable.key]
    return list(counts.values()), frozenset(flags)


def _tried(keys: list[int | str]) -> list[Numbers]:
    """Numbers at which counts may choose a branch."""
    if len(keys) == 1:
        return [{keys[0]: number} for number in range(_TRIED)]
    drawn = np.random.default_rng(0).integers(_TRIED, size=(_TOGETHER, len(keys)))
    low = itertools.product(range(3), repeat=min(len(keys), 4))
    rows = [
        *(dict(zip(keys, row, strict=False)) for row in low),
        *(dict(zip(keys, map(int, row), strict=True)) for row in drawn),
    ]
    return [{key: row.get(key, 0) for key in keys} for row in rows]


@dataclasses.dataclass(frozen=True)
class _Choice:
    """One branch of those that a predicate chooses; `flags`: what the step sets before it asks."""

    plan: Plan
    predicate: Tensor
    position: int
    flags: frozenset[int | str]

    def taken(self, tried: Iterable[Numbers]) -> list[Numbers]:
        """The numbers at which the branch is taken, of those that are tried."""
        return [numbers for numbers in tried if self._is_taken(_Counted(numbers, self.flags))]

    def _is_taken(self, feed: _Counted) -> bool:
        try:
            value = Evaluation(self.plan, feed).value(self.predicate)
        except NoValueError:
            return False
        return bool(np.size(value) == 1 and bool(np.asarray(value)) == (self.position == 0))
