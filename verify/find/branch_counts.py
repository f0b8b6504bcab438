"""Numbers that counts are fed with, so that each branch that trains is taken in some draws."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

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
        usual = [dict.fromkeys([v.key for v in counts], number) for number in COUNTS]
        taken = [
            numbers
            for numbers in (*usual, *_tried([v.key for v in counts]))
            if _is_at(plan, tensor, _Counted(numbers, flags), position)
        ]
        if taken and sum(numbers in taken for numbers in usual) < _OFTEN:
            found.append([dict(one) for one in {tuple(t.items()): t for t in taken}.values()])
    return found


def _deciding(flat: FlatGraph, tensor: Tensor) -> tuple[list[VariableRef], frozenset[int | str]]:
    """What a choice is computed from, and the flags in between, which the step sets itself."""
    flags, counts = set[int | str](), dict[int | str, VariableRef]()
    left = flat.read_for([tensor])
    while left:
        variable = left.pop()
        written = [node for node, v in flat.writes() if v.key == variable.key]
        if variable.dtype != "bool" or variable.shape != () or not written:
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


def _is_at(plan: Plan, predicate: Tensor, feed: _Counted, position: int) -> bool:
    """Whether a branch is taken where counts have come to some numbers."""
    try:
        value = Evaluation(plan, feed).value(predicate)
    except NoValueError:
        return False
    return bool(np.size(value) == 1 and bool(np.asarray(value)) == (position == 0))
