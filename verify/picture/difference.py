"""What one step has and another lacks, op by op, so that both can be drawn as one picture."""

from __future__ import annotations

import re
from collections.abc import Hashable, Set

from verify.assertions import changed_ops
from verify.graphs import FlatGraph, Node
from verify.picture.places import Places

TOUCHED, ADDED, GONE = "touched", "added", "gone"


class Difference:
    """From `old` to `new`.

    An op of both computes the same in both, or computes something else because of what it is
    computed from, at the same place of the step; the others are `added` or `gone`.

    `marks`: by index of an op of the new step, that it is added or touched. `at`: by index of an op
    of the old step, the op of the new one that it is now; `first`: by index of an op of the new
    step, the first that computes the same. `variables`: by key of a variable of the old step, that
    of the new one.
    """

    def __init__(self, old: Places, new: Places) -> None:
        changed = changed_ops(old.step, new.step)
        self.old, self.new = old, new
        self.at, self.variables = dict(changed.same), changed.variables
        self.first = changed.first
        kept = _paired(old, new, changed.old, changed.new)
        self.at |= kept
        stayed = set(kept.values())
        self.marks = {index: TOUCHED if index in stayed else ADDED for index in changed.new}
        gone = {node.index for node in old.flat.nodes} - self.at.keys()
        added = {index for index, mark in self.marks.items() if mark == ADDED}
        self.marks |= dict.fromkeys(_constants(new.flat, added), ADDED)
        gone |= _constants(old.flat, gone)
        self.at = {index: now for index, now in self.at.items() if index not in gone}
        self.gone = [old.flat.nodes[i] for i in sorted(gone - old.flat.variables.keys())]
        self.added = [
            node
            for node in new.flat.nodes
            if self.marks.get(node.index) == ADDED and node.index not in new.flat.variables
        ]
        there = set(self.variables.values())
        self.new_variables = {v.key for v in new.flat.variables.values()} - there
        self.gone_variables = {v.key for v in old.flat.variables.values()} - self.variables.keys()


def _constants(flat: FlatGraph, used_by: Set[int]) -> set[int]:
    """Constants for these ops alone: that another part has one of the same value says nothing."""
    users: dict[int, set[int]] = {}
    for node in flat.nodes:
        for source, _ in node.data:
            if flat.nodes[source].op == "Const":
                users.setdefault(source, set()).add(node.index)
    return {source for source, those in users.items() if those <= used_by}


def _paired(
    old: Places, new: Places, changed: dict[int, str], other: dict[int, str]
) -> dict[int, int]:
    """Ops that only what they are computed from sets apart, at the same place of both steps.

    First those of the same name; then the others in order, for names of ops are numbered. Two ops
    that both begin something are no pair: they differ in themselves.
    """
    paired: dict[int, int] = {}
    taken: set[int] = set()
    for alike in (_by_name, _by_place, _by_cluster):
        waiting: dict[Hashable, list[int]] = {}
        for index in other.keys() - taken - new.flat.variables.keys():
            waiting.setdefault(alike(new, new.flat.nodes[index]), []).append(index)
        for left in waiting.values():
            left.sort()
        for index in sorted(changed.keys() - paired.keys() - old.flat.variables.keys()):
            left = waiting.get(alike(old, old.flat.nodes[index]), [])
            fitting = (one for one in left if TOUCHED in (changed[index], other[one]))
            if (found := next(fitting, None)) is not None:
                left.remove(found)
                taken.add(found)
                paired[index] = found
    return paired


def _by_name(places: Places, node: Node) -> Hashable:
    return places.of(node), node.op, node.name


def _by_place(places: Places, node: Node) -> Hashable:
    around = tuple((_bare(name), kind) for name, kind in places.of(node))
    return around, node.op, tuple(node.dtypes), str(node.shapes)


def _by_cluster(places: Places, node: Node) -> Hashable:
    """For what moved from one layer to another, or out of all, by what is done around it."""
    around = tuple(name for name, kind in places.of(node) if kind in ("branch", "cluster"))
    names = tuple(map(_bare, node.name.split("/")))
    return around, names, node.op, tuple(node.dtypes), str(node.shapes)


def _bare(name: str) -> str:
    return re.sub(r"_\d+$", "", name)
