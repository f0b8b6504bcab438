"""Whether two steps leave the same values behind, where their graphs are not alike.

Both are fed the same: variables, arguments and random numbers, paired by identity, else by what
they are and the order in which they come. They do the same if in each of several draws every
variable ends up alike, and if every branch that decides about that was taken in one of them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from verify.graphs import WHILES, FlatGraph, VariableRef
from verify.match import DRAWS, Evaluation, NoValueError, Paired, Plan, same_change
from verify.step import Step

_ENOUGH = 3  # draws in which all is finite


def same_values(a: Step, b: Step, outputs: bool) -> bool:
    """Whether values show that two steps do the same; False also where they can't tell.

    Args:
        outputs: whether they have to return the same as well.
    """
    variables = _paired(a, b)
    if outputs and len(a.flat.outputs) != len(b.flat.outputs):
        return False
    sides = [_Side(step.flat, names) for step, names in zip((a, b), variables, strict=True)]
    good = 0
    for draw in range(DRAWS):
        try:
            first, second = (side.results(draw, outputs) for side in sides)
        except NoValueError:
            return False
        if not all(np.isfinite(value).all() for value, _ in (*first.values(), *second.values())):
            continue
        for key in first.keys() | second.keys():
            if key not in first or key not in second or not _alike(first[key], second[key]):
                return False
        good += 1
    return good >= _ENOUGH and all(side.all_taken for side in sides)


def _alike(a: tuple[Any, Any], b: tuple[Any, Any]) -> bool:
    """Whether two values are alike, measured by how much they changed: (value, before)."""
    (one, before), (other, _) = a, b
    return one.shape == other.shape and same_change(one, other, before)


def _paired(a: Step, b: Step) -> tuple[dict[Any, str], dict[Any, str]]:
    """A name for each variable of both, equal for those that stand for one another."""
    known = [_in_order(step.flat) for step in (a, b)]
    shared = known[0].keys() & known[1].keys()
    found: tuple[dict[Any, str], dict[Any, str]] = ({}, {})
    for names, variables in zip(found, known, strict=True):
        kinds = Counter[Any]()
        for key, variable in variables.items():
            if key in shared:
                names[key] = f"shared {variable.path}"
                continue
            kind = variable.shape, variable.dtype, variable.trainable
            names[key] = f"{kind} {kinds[kind]}"
            kinds[kind] += 1
    return found


def _in_order(flat: FlatGraph) -> dict[int | str, VariableRef]:
    """The variables that are read or written, in the order of their first use."""
    used = (flat.variable(node) for node in flat.nodes if node.index not in flat.variables)
    return {variable.key: variable for variable in used if variable is not None}


class _Side:
    """One of two steps."""

    def __init__(self, flat: FlatGraph, names: dict[Any, str]) -> None:
        self.flat, self.names, self._plan = flat, names, Plan(flat)
        self._taken: dict[tuple[str, ...], set[int]] = {}
        self._written = {variable.key: variable for _, variable in flat.writes()}

    def results(self, draw: int, outputs: bool) -> dict[Any, tuple[Any, Any]]:
        """(value, before) of each variable that is written and, if asked, of each output."""
        feed = Paired(self.flat, self.names, draw)
        evaluation = Evaluation(self._plan, feed)
        found: dict[Any, tuple[Any, Any]] = {}
        for key, variable in self._written.items():
            before = np.asarray(feed.variable(variable), np.float64)
            found[self.names[key]] = np.asarray(evaluation.final(variable), np.float64), before
        for i, output in enumerate(self.flat.outputs if outputs else ()):
            value = np.asarray(evaluation.value(output), np.float64)
            found[i] = value, np.zeros_like(value)
        for site, branches in evaluation.taken.items():
            self._taken.setdefault(site, set()).update(branches)
        return found

    @property
    def all_taken(self) -> bool:
        """Whether every branch was taken in some draw."""
        return all(
            self._taken.get((*guard.path, guard.name), set()) >= set(range(len(guard.branches)))
            for guard in self.flat.guards
            if guard.op not in WHILES
        )
