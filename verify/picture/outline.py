"""A step as a tree of groups that can be opened one by one, and the wires between ops."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from verify.graphs import Node, VariableRef
from verify.picture.colours import CLUSTERS
from verify.picture.difference import ADDED, GONE, Difference
from verify.picture.groups import Group, settle
from verify.picture.places import Place, Places

_Wire = tuple[int, int, str]
Wire = _Wire | tuple[int, int, str, str]
"""Source, target, "data", "read" or "write"; and its mark where only one of two steps has it."""

_UNUSED = (
    "nothing that is written, returned or done depends on these: they were traced, and TensorFlow "
    "leaves them out when the step runs"
)
_FEW = 24  # variables of one role that need no layers around them


@dataclasses.dataclass(frozen=True)
class Outline:
    """The tree, and wires between op numbers.

    `sides`: of a difference, what the two steps are called. `by_layer`: the same ops and variables
    as a tree of layers, each of which opens to its parts: forward pass, backward pass and so on.
    """

    root: Group
    wires: tuple[Wire, ...]
    sides: tuple[str, str] | None = None
    by_layer: Group | None = None


def outline(places: Places) -> Outline:
    """The outline of a step."""
    return _outline(places, None)


def outline_of(difference: Difference) -> Outline:
    """The outline of the new step, with what is gone where it was in the old one."""
    return _outline(difference.new, difference)


def _outline(places: Places, difference: Difference | None) -> Outline:
    flat = places.flat
    trees = {by_layer: Group(places.step.name, "step") for by_layer in (False, True)}
    drawn = _Drawn(places)
    marks = {} if difference is None else difference.marks
    for node in flat.nodes:
        if node.index not in flat.variables:
            op = drawn.op(node, marks.get(node.index))
            for by_layer, root in trees.items():
                _at(root, places.of(node, by_layer)).ops.append(op)
    new = set() if difference is None else difference.new_variables
    variables = [
        (places.role(v), drawn.variable(v, ADDED if v.key in new else None))
        for v in _once(flat.variables)
    ]
    now = list(dict.fromkeys(drawn.wires()))
    wires: list[Wire] = [*now]
    sides = None
    if difference is not None:
        old = _Drawn(difference.old, drawn.end, difference.at)
        for node in difference.gone:
            op = old.op(node, GONE)
            for by_layer, root in trees.items():
                _at(root, difference.old.of(node, by_layer), exact=False).ops.append(op)
        for variable in _once(difference.old.flat.variables):
            if variable.key in difference.gone_variables:
                made = old.variable(variable, GONE)
                variables.append((difference.old.role(variable), made))
            else:
                old.variables[variable.key] = drawn.variables[difference.variables[variable.key]]
        wires = [*_marked_wires(now, old.wires(), difference.first)]
        sides = difference.old.step.name, difference.new.step.name
    for root in trees.values():
        _place_variables(root, variables)
        _in_order(root)
        _explain(root)
        settle(root)
    return Outline(trees[False], tuple(wires), sides, trees[True])


def _marked_wires(
    now: Iterable[_Wire], before: Iterable[_Wire], first: Mapping[int, int]
) -> Iterator[Wire]:
    """Those of the new step, and of the old one what is gone.

    Of ops that compute the same, one is as good as another.
    """

    def meant(wire: _Wire) -> _Wire:
        source, target, kind = wire
        return first.get(source, source), first.get(target, target), kind

    by_old = {meant(wire): wire for wire in before}
    there = set[_Wire]()
    for wire in now:
        there.add(meant(wire))
        yield wire if meant(wire) in by_old else (*wire, ADDED)
    for key, wire in by_old.items():
        if key not in there:
            yield (*wire, GONE)


class _Drawn:
    """The ops and variables of one step under numbers of their own in the picture.

    `now`: by index of an op, its number where it is drawn as an op of another step.
    """

    def __init__(
        self, places: Places, first: int = 0, now: Mapping[int, int] | None = None
    ) -> None:
        self.flat, self._first, self._now = places.flat, first, now or {}
        self.variables: dict[int | str, int] = {}
        self.end = first + len(self.flat.nodes)

    def number(self, index: int) -> int:
        return self._now.get(index, self._first + index)

    def op(self, node: Node, mark: str | None) -> dict[str, Any]:
        shown = [_spec(s, d) for s, d in zip(node.shapes, node.dtypes, strict=False)]
        number = self.number(node.index)
        return _marked({"i": number, "op": node.op, "id": node.id, "out": ", ".join(shown)}, mark)

    def variable(self, variable: VariableRef, mark: str | None) -> dict[str, Any]:
        number = self.variables[variable.key] = self.end
        self.end += 1
        out = _spec(variable.shape, variable.dtype)
        return _marked({"i": number, "op": "variable", "id": variable.path, "out": out}, mark)

    def wires(self) -> Iterator[_Wire]:
        flat = self.flat
        written = {node.index: variable for node, variable in flat.writes()}
        for node in flat.nodes:
            if node.index in flat.variables:
                continue
            here = self.number(node.index)
            for source, _ in node.data:
                if source not in flat.variables:
                    yield self.number(source), here, "data"
            if node.index in written:
                yield here, self.variables[written[node.index].key], "write"
            elif (variable := flat.variable(node)) is not None:
                yield self.variables[variable.key], here, "read"


def _marked(made: dict[str, Any], mark: str | None) -> dict[str, Any]:
    return made if mark is None else made | {"mark": mark}


def _spec(shape: tuple[int | None, ...] | None, dtype: str) -> str:
    inner = "..." if shape is None else ", ".join("?" if n is None else str(n) for n in shape)
    return f"{dtype}[{inner}]"


def _once(variables: Mapping[int, VariableRef]) -> list[VariableRef]:
    """A variable may have several handles."""
    found: dict[int | str, VariableRef] = {}
    for variable in variables.values():
        found.setdefault(variable.key, variable)
    return list(found.values())


def _at(root: Group, place: Place, exact: bool = True) -> Group:
    """The group at a place; one of the same name but for its number will do, unless `exact`."""
    group = root
    for name, kind in place:
        if not exact and name not in group.groups:
            bare = _bare(name)
            name = next((n for n in group.groups if _bare(n) == bare), name)
        group = group.at(name, kind)
    return group


def _in_order(group: Group) -> None:
    """Clusters as a step runs through them, which is the order in which a keyboard does."""
    rank = {name: number for number, name in enumerate(CLUSTERS)}
    ordered = sorted(
        group.groups.items(),
        key=lambda item: rank[item[0]] if item[1].kind == "cluster" else -1,
    )
    group.groups = dict(ordered)
    for inner in group.groups.values():
        if inner.kind in ("branch", "layer"):
            _in_order(inner)


def _explain(group: Group) -> None:
    """What a person may not know of a cluster."""
    for inner in group.groups.values():
        if inner.kind == "branch":
            _explain(inner)
        elif (inner.kind, inner.name) == ("cluster", "unused"):
            inner.note = _UNUSED


def _bare(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _place_variables(root: Group, variables: list[tuple[str, dict[str, Any]]]) -> None:
    """Variables by their role and, where there are many of one role, by layer."""
    for role in dict.fromkeys(role for role, _ in variables):
        listed = [made for other, made in variables if other == role]
        group = root.at("variables", "variables").at(role, "variables")
        for made in listed:
            around = str(made["id"]).split("/")[:-1] if len(listed) > _FEW else []
            _at(group, tuple((name, "variables") for name in around)).ops.append(made)
