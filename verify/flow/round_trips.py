"""Updates that another one takes back: a step looks at its loss elsewhere, and comes back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from verify.flow.dependence import Dependence
from verify.graphs import Node, Tensor, VariableRef

_SIGNS = {"AssignAddVariableOp": 1, "AssignSubVariableOp": -1}
_ADDS = {"Add", "AddV2"}

Write = tuple[Node, VariableRef]
Written = dict[tuple[int | str, int], list[int]]
"""By key and replica of a variable: the nodes that write it."""


def round_trips(flow: Dependence, writes: Iterable[Write]) -> Iterator[tuple[Write, Write]]:
    """Pairs of writes of which the second subtracts the very tensor that the first adds.

    Or adds what that subtracts. A sum or a difference that is assigned, as Keras writes it, adds or
    subtracts as well.
    """
    written: Written = {}
    for node, variable in flow.flat.writes():
        written.setdefault((variable.key, variable.replica), []).append(node.index)
    waiting: dict[tuple[int | str, int, Tensor, tuple[str, ...], int], list[Write]] = {}
    for node, variable in sorted(writes, key=lambda write: write[0].index):
        added = _added(flow, node, variable, written)
        if added is None:
            continue
        tensor, sign = added
        key = variable.key, variable.replica, tensor, node.path
        if earlier := waiting.get((*key, -sign), []):
            yield earlier.pop(), (node, variable)
        else:
            waiting.setdefault((*key, sign), []).append((node, variable))


def _added(
    flow: Dependence, node: Node, variable: VariableRef, written: Written
) -> tuple[Tensor, int] | None:
    """What a write adds to a variable, and its sign: -1 where it subtracts."""
    if node.op in _SIGNS:
        return _unsigned(flow, node.data[-1], _SIGNS[node.op])
    if node.op != "AssignVariableOp":
        return None
    made = flow.flat.node(node.data[-1])
    if made.op not in _ADDS and made.op != "Sub":
        return None
    first, second = made.data
    if _is_held(flow, first, node, variable, written):
        return _unsigned(flow, second, -1 if made.op == "Sub" else 1)
    if made.op in _ADDS and _is_held(flow, second, node, variable, written):
        return _unsigned(flow, first, 1)
    return None


def _unsigned(flow: Dependence, tensor: Tensor, sign: int) -> tuple[Tensor, int]:
    while (node := flow.flat.node(tensor)).op == "Neg":
        tensor, sign = node.data[0], -sign
    return tensor, sign


def _is_held(
    flow: Dependence, tensor: Tensor, write: Node, variable: VariableRef, written: Written
) -> bool:
    """Whether a tensor is what a variable holds until it is written."""
    read = flow.flat.node(tensor)
    held, own = flow.flat.variable(read), (variable.key, variable.replica)
    if held is None or (held.key, held.replica) != own:
        return False
    return not any(read.index < index < write.index for index in written[own])
