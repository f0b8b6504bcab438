"""A step as a tree of groups that can be opened one by one, and the wires between ops."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from verify.find import Detector
from verify.graphs import CASES, IFS, FlatGraph, Node
from verify.picture.clusters import clusters
from verify.step import Step, choosers

_CROWD = 60  # children beyond this are put into groups by number


@dataclasses.dataclass
class Group:
    """A group of groups and ops. `kind`: step, branch, cluster, variables or scope."""

    name: str
    kind: str
    groups: dict[str, Group] = dataclasses.field(default_factory=dict)
    ops: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def at(self, name: str, kind: str) -> Group:
        return self.groups.setdefault(name, Group(name, kind))

    @property
    def count(self) -> int:
        return len(self.ops) + sum(group.count for group in self.groups.values())


@dataclasses.dataclass(frozen=True)
class Outline:
    """The tree, and wires as (source, target, "data" | "read" | "write") of op numbers."""

    root: Group
    wires: tuple[tuple[int, int, str], ...]


def outline(step: Step, marks: dict[str, str] | None = None) -> Outline:
    """The outline of a step.

    Args:
        marks: by node id, a mark that ops carry into the picture, e.g. "added".
    """
    detector = Detector(step)
    flat, parts = step.flat, clusters(detector)
    root = Group(step.name, "step")
    labels = _branches(flat)
    handles = set(flat.variables)
    trained = {update.variable.key for update in detector.flow.trained}
    for node in flat.nodes:
        if node.index in handles:
            continue
        place, scopes = root, []
        for depth, site in enumerate(node.path, 1):
            if node.path[:depth] in labels:
                place = place.at(labels[node.path[:depth]], "branch")
            else:
                scopes.append(site)
        place = place.at(parts[node.index], "cluster")
        for scope in [*scopes, *_scopes(node, parts[node.index])]:
            place = place.at(scope, "scope")
        place.ops.append(_op(node, (marks or {}).get(node.id)))
    numbers = _variables(root, flat, trained)
    _settle(root)
    return Outline(root, tuple(_wires(flat, handles, numbers)))


def _op(node: Node, mark: str | None) -> dict[str, Any]:
    shown = [_spec(s, d) for s, d in zip(node.shapes, node.dtypes, strict=False)]
    made = {"i": node.index, "op": node.op, "id": node.id, "out": ", ".join(shown)}
    return made if mark is None else made | {"mark": mark}


def _spec(shape: tuple[int | None, ...] | None, dtype: str) -> str:
    inner = "..." if shape is None else ", ".join("?" if n is None else str(n) for n in shape)
    return f"{dtype}[{inner}]"


def _branches(flat: FlatGraph) -> dict[tuple[str, ...], str]:
    """Call paths of branches, and what has to be true for each to be taken."""
    labels: dict[tuple[str, ...], str] = {}
    for guard in flat.guards:
        if guard.op not in IFS | CASES:
            continue
        by = ", ".join(variable.path for variable in choosers(flat, guard)) or guard.name
        for number, branch in enumerate(guard.branches):
            value = str(number == 0) if guard.op in IFS else f"case {number}"
            labels[branch] = f"if {by}: {value}"
    return labels


def _scopes(node: Node, cluster: str) -> list[str]:
    """Name scopes, for reading only: nothing is decided by them."""
    scopes = node.name.split("/")[:-1]
    return [s for s in scopes if s not in ("gradient_tape", cluster)]


def _variables(root: Group, flat: FlatGraph, trained: set[int | str]) -> dict[int | str, int]:
    """A number beyond those of the ops for each variable, which are grouped by their role."""
    numbers: dict[int | str, int] = {}
    written = {variable.key for _, variable in flat.writes()}
    for variable in flat.variables.values():
        if variable.key in numbers:
            continue
        number = numbers[variable.key] = len(flat.nodes) + len(numbers)
        if variable.key in trained:
            role = "trained"
        elif variable.trainable:
            role = "not trained"
        else:
            role = "state" if variable.key in written else "read only"
        group = root.at("variables", "variables").at(role, "variables")
        out = _spec(variable.shape, variable.dtype)
        group.ops.append({"i": number, "op": "variable", "id": variable.path, "out": out})
    return numbers


def _wires(
    flat: FlatGraph, handles: set[int], numbers: dict[int | str, int]
) -> Iterator[tuple[int, int, str]]:
    written = {node.index: variable for node, variable in flat.writes()}
    for node in flat.nodes:
        if node.index in handles:
            continue
        for source, _ in node.data:
            if source not in handles:
                yield source, node.index, "data"
        if node.index in written:
            yield node.index, numbers[written[node.index].key], "write"
        elif (variable := flat.variable(node)) is not None and variable.key in numbers:
            yield numbers[variable.key], node.index, "read"


def _settle(group: Group) -> None:
    """Groups of one child become that child; crowds of ops are divided."""
    while group.kind == "cluster" and not group.ops and len(group.groups) == 1:
        ((_, only),) = group.groups.items()
        group.groups, group.ops = only.groups, only.ops
    for name, inner in list(group.groups.items()):
        _settle(inner)
        if inner.kind == "scope" and not inner.ops and len(inner.groups) == 1:
            ((deeper, only),) = inner.groups.items()
            only.name = f"{name}/{deeper}"
            group.groups[name] = only
    if len(group.ops) > _CROWD:
        ops, group.ops = group.ops, []
        for start in range(0, len(ops), _CROWD):
            last = min(start + _CROWD, len(ops))
            kind = "variables" if group.kind == "variables" else "scope"
            group.at(f"{start + 1} to {last}", kind).ops = ops[start:last]
    if len(group.groups) > _CROWD:
        several = list(group.groups.values())
        group.groups = {}
        for start in range(0, len(several), _CROWD):
            last = min(start + _CROWD, len(several))
            name = f"{several[start].name} to {several[last - 1].name}"
            group.at(name, "scope").groups = {g.name: g for g in several[start:last]}
