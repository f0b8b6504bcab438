"""Which layer of the user's each op belongs to, told by name scopes and by paths of variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from verify.flow import Flow
from verify.graphs import READS, Node, VariableRef

Layer = tuple[str, ...]
"""Names of a submodel, a layer in it and so on; none for what no layer has made."""

_TAPE = "gradient_tape"
_WRITING = ("clip", "optimizer")  # there, the layer is that of the variable that is written
_MANY = 24  # trained variables outside of any layer: beyond this, each counts as one


def layers(flow: Flow, parts: Sequence[str]) -> list[Layer]:
    """The layer of each node of the flat graph.

    Args:
        parts: the cluster of each node.
    """
    found = _Scopes(flow, parts).found
    _by_written(flow, parts, found)
    _by_read(flow, parts, found)
    return found


def of_variable(variable: VariableRef) -> Layer:
    return tuple(variable.path.split("/")[:-1])


def plain(node: Node) -> Layer:
    """An op's name in the forward pass, scope by scope: gradients are called after their op."""
    return tuple(name for name in node.name.split("/") if name != _TAPE)


class _Scopes:
    """The scopes that a person would know: layers, and what a layer calls its parts.

    TensorFlow gives each op a scope of its own too, for its constants and for its gradient.
    """

    def __init__(self, flow: Flow, parts: Sequence[str]) -> None:
        flat = flow.flat
        self._known = {name for v in flat.variables.values() for name in of_variable(v)}
        self._ops = {(node.path, plain(node)) for node in flat.nodes}
        working, called = set[tuple[Layer, Layer]](), set[tuple[Layer, Layer]]()
        for node in flat.nodes:
            if _is_argument(node) or node.index in flat.variables:
                continue
            names = plain(node)
            for depth in range(1, len(names)):
                working.add((node.path, names[:depth]))
                outer, inner = names[depth - 1], names[depth]
                ending = re.search(r"_\d+$", inner)
                if ending and outer.endswith(ending[0]) and inner[: ending.start()] in self._known:
                    called.add((node.path, names[:depth]))
        # Where something works, and what is called by the same number as a layer in it.
        self._working, self._called = working, called
        self._names: dict[tuple[Layer, Layer], str] = {}
        self._taken: dict[tuple[Layer, Layer, str], int] = {}
        self.found = [self._of(node, parts[node.index]) for node in flat.nodes]

    def _of(self, node: Node, part: str) -> Layer:
        names, made = plain(node), list[str]()
        suffix = ""
        for depth in range(1, len(names)):
            scope = names[:depth]
            if (node.path, scope) in self._called and scope[-1] not in self._known:
                suffix = "_" + scope[-1].rpartition("_")[2]
            base, suffix = self._base(scope[-1], suffix)
            is_layer = base in self._known
            of_an_op = (node.path, scope) in self._ops or (node.path, scope) not in self._working
            if is_layer or not (of_an_op or base == part):
                made.append(self._named(node.path, scope, tuple(made), base))
        return tuple(made)

    def _base(self, name: str, suffix: str) -> tuple[str, str]:
        """A layer's own name, without the number that TensorFlow adds where it is called again."""
        ending = re.search(r"_\d+$", name)
        if ending is None or name in self._known:
            return name, ""
        bare = name[: ending.start()]
        # Layers without variables are known by the number that they share with their model.
        return (bare, ending[0]) if bare in self._known or ending[0] == suffix else (name, "")

    def _named(self, path: Layer, scope: Layer, parent: Layer, base: str) -> str:
        """A layer that is called twice is two groups, and both keep their names in all clusters."""
        if (path, scope) not in self._names:
            call = self._taken[path, parent, base] = self._taken.get((path, parent, base), 0) + 1
            self._names[path, scope] = base if call == 1 else f"{base} ({call})"
        return self._names[path, scope]


def _is_argument(node: Node) -> bool:
    return node.op == "Const" or node.op in READS


def _shared(several: Iterable[Layer]) -> Layer | None:
    """The innermost submodel that all are in, None without any."""
    found: Layer | None = None
    for one in several:
        if found is None:
            found = one
        else:
            same = [a for a, b in zip(found, one, strict=False) if a == b]
            found = found[: len(same)] if tuple(same) == found[: len(same)] else ()
    return found


def _by_written(flow: Flow, parts: Sequence[str], found: list[Layer]) -> None:
    """What leads to updates of one layer's variables alone belongs to that layer."""
    home = _homes(flow)
    heads = {layer[0] for u in flow.trained if (layer := home[u.variable.key])}
    to: dict[int, Layer] = {
        update.node.index: home[update.variable.key]
        for update in flow.trained
        if parts[update.node.index] in _WRITING
    }
    there = [index for index, part in enumerate(parts) if part in _WRITING]
    for index in reversed(there):
        users = (to[user] for user in flow.consumers[index] if user > index and user in to)
        own = [to[index]] if index in to else []
        if (shared := _shared([*own, *users])) is not None:
            to[index] = shared
    for index in there:
        if index not in to:  # a moment that is written last
            by = [to[source] for source in flow.producers[index] if source in to]
            to[index] = max(by, key=len, default=())
        if heads.isdisjoint(found[index]):
            found[index] += to[index]


def _homes(flow: Flow) -> dict[int | str, Layer]:
    """By key, the layer of each variable, or the variable where many stand outside of any."""
    made = {variable.key: of_variable(variable) for variable in flow.flat.variables.values()}
    bare = [u.variable for u in flow.trained if not made[u.variable.key]]
    if len({variable.key for variable in bare}) > _MANY:
        made |= {variable.key: (variable.path,) for variable in bare}
    return made


def _by_read(flow: Flow, parts: Sequence[str], found: list[Layer]) -> None:
    """What stands in no scope belongs to the layer whose variables it is computed from."""
    flat, home = flow.flat, _homes(flow)
    bare = {node.index for node in flat.nodes if not found[node.index]}
    names = {(node.path, plain(node)): node.index for node in reversed(flat.nodes)}
    for node in flat.nodes:
        index = node.index
        if index not in bare or parts[index] in ("input", *_WRITING):
            continue
        variable = flat.variable(node)
        ahead = names.get((node.path, plain(node)[:-1]))
        if variable is not None:
            found[index] = home[variable.key]
        elif ahead is not None and ahead != index and not _is_argument(node):
            found[index] = found[ahead]
        elif node.op == "AddN" and parts[index] == "backward":  # all gradients of one tensor
            there = [found[s] for s in flow.producers[index] if parts[s] == parts[index]]
            found[index] = _shared(there) or ()
        else:
            near = [s for s in flow.producers[index] if s in bare and parts[s] == parts[index]]
            # A variable of its own counts for more than what comes from the layer before.
            read = [s for s in near if flat.nodes[s].op in READS]
            found[index] = _shared(found[s] for s in read or near if found[s]) or ()
    for node in reversed(flat.nodes):
        if node.index in bare and not found[node.index] and _is_argument(node):
            users = flow.consumers[node.index]
            there = [found[user] for user in users if parts[user] == parts[node.index]]
            found[node.index] = _shared(there) or ()
