"""Groups of ops that can be opened one by one, and what is done where one holds too much."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

# Layers or variables beside each other: beyond this, the words of their names divide them; and
# within what was divided already, so that a block is a group in all clusters alike.
_MANY, _MANY_INSIDE = 24, 12
_CROWD = 100  # ops or layers that nothing divides: beyond this, those that are alike are one group
_ALIKE = "no scope and no variable tells these apart: they are together because they are alike"

Item = TypeVar("Item")


@dataclasses.dataclass
class Group:
    """A group of groups and ops.

    `kind`: step, branch, cluster, variables, scope (a function that is called), layer, names (of
    layers whose names begin alike) or alike. `note`: what a reader should know of it.
    """

    name: str
    kind: str
    groups: dict[str, Group] = dataclasses.field(default_factory=dict)
    ops: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    note: str = ""

    def at(self, name: str, kind: str) -> Group:
        return self.groups.setdefault(name, Group(name, kind))

    @property
    def count(self) -> int:
        return len(self.ops) + sum(group.count for group in self.groups.values())


def settle(group: Group) -> None:
    """Groups of one child become that child; what is too much for a look is divided."""
    while group.kind == "cluster" and not group.ops and len(group.groups) == 1:
        ((_, only),) = group.groups.items()
        group.groups, group.ops = only.groups, only.ops
    for name, inner in list(group.groups.items()):
        settle(inner)
        if inner.kind in ("scope", "layer") and not inner.ops and len(inner.groups) == 1:
            (only,) = inner.groups.values()
            if only.kind == "cluster":
                continue  # a layer keeps its name, also where it is in one part of the step alone
            only.name = f"{name}/{only.name}"
            group.groups[name] = only
    _by_names(group)
    _by_likeness(group)


def _by_names(group: Group, many: int = _MANY) -> None:
    """Layers, and variables, of names that begin alike: ``conv2_block1_conv`` and ``..._bn``."""
    if len(group.groups) > many:
        kind = "variables" if group.kind == "variables" else "names"
        several, group.groups = list(group.groups.values()), {}
        for name, run in _runs(several, lambda inner: inner.name):
            if len(run) == 1:
                group.groups[run[0].name] = run[0]
            else:
                made = group.at(name, kind)
                made.groups = {inner.name: inner for inner in run}
                _by_names(made, _MANY_INSIDE)
    if group.kind == "variables" and len(group.ops) > many:
        variables, group.ops = group.ops, []
        for name, listed in _runs(variables, lambda op: str(op["id"]).rpartition("/")[2]):
            if len(listed) == 1:
                group.ops += listed
            else:
                made = group.at(name, "variables")
                made.ops = listed
                _by_names(made, _MANY_INSIDE)


def _runs(items: Sequence[Item], name: Callable[[Item], str]) -> list[tuple[str, list[Item]]]:
    """Items put together by the first words of their names, by as few words as do that.

    Only neighbours: layers that take turns are no part of a model, whatever their names are.
    """
    words = [name(item).split("_") for item in items]
    for length in range(1, max(map(len, words))):
        keys = ["_".join(listed[:length]) for listed in words]
        runs = [
            (key, [item for _, item in run])
            for key, run in itertools.groupby(
                zip(keys, items, strict=True), key=lambda pair: pair[0]
            )
        ]
        if 1 < len(runs) < len(items) and len(runs) == len(set(keys)):
            return runs
    return [(name(item), [item]) for item in items]


def _by_likeness(group: Group) -> None:
    """The last resort: ops of one type, and layers whose names differ by a number."""
    if len(group.groups) > _CROWD:
        inner, group.groups = list(group.groups.values()), {}
        for name, alike in _alike(inner, lambda one: re.sub(r"_?\d+( \(\d+\))?$", "", one.name)):
            if len(alike) == 1 or len(alike) == len(inner):
                group.groups |= {one.name: one for one in alike}
            else:
                made = group.at(f"{len(alike)} × {name}", "alike")
                made.groups, made.note = {one.name: one for one in alike}, _ALIKE
    if len(group.ops) > _CROWD and group.kind not in ("variables", "alike"):
        ops, group.ops = group.ops, []
        for name, same in _alike(ops, lambda op: str(op["op"])):
            if len(same) == 1:
                group.ops += same
            else:
                made = group.at(f"{len(same)} × {name}", "alike")
                made.ops, made.note = same, _ALIKE


def _alike(items: Sequence[Item], of: Callable[[Item], str]) -> list[tuple[str, list[Item]]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(of(item), []).append(item)
    return list(found.items())
