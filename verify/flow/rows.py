"""Gradients of some rows of a table: what was looked up, one row for each time.

Backpropagation ends in these rows and in their numbers. What follows may work on rows or on a whole
table, into which they are put at the places of their numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Set

from verify.flow.dependence import Dependence
from verify.graphs import Node, Tensor, VariableRef

_LOOKUPS = {"GatherV2", "ResourceGather"}
_SUMS = {"UnsortedSegmentSum"}
_UNIQUE = {"Unique", "UniqueV2"}
_SCATTERS = "ResourceScatter"
# What numbers pass that differ, and still differ after it.
_KEPT_APART = {"Cast", "ExpandDims", "Identity", "Reshape", "Slice", "Squeeze", "StridedSlice"}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Where rows go that a gradient consists of.

    `numbers`: the tensors of their numbers, in the table; `placed`: the same where rows are put,
    after those of one number may have been put together; `counts`: of how many rows the table has.
    `differ`: whether no two of them are ever rows of the same number.
    """

    numbers: frozenset[Tensor]
    placed: frozenset[Tensor]
    counts: frozenset[Tensor]
    differ: bool


def tables(flow: Dependence) -> dict[int | str, VariableRef]:
    """The variables that rows are looked up in, by key."""
    lookups = (node for node in flow.flat.nodes if node.op in _LOOKUPS)
    found = (_table(flow, node) for node in lookups)
    return {variable.key: variable for variable in found if variable is not None}


def placing(flow: Dependence, backward: Set[int]) -> frozenset[int]:
    """The nodes that put rows of a gradient where they belong in a variable, or in its gradient."""
    shapes = {variable.shape for variable in tables(flow).values()}
    if not shapes:
        return frozenset()
    nodes = (flow.flat.nodes[index] for index in backward)
    return frozenset(
        node.index
        for node in nodes
        if node.op.startswith(_SCATTERS)
        or (node.op in _SUMS and flow.flat.shape((node.index, 0)) in shapes)
    )


def numbers_of(flow: Dependence, places: Set[int]) -> set[Tensor]:
    """The numbers of the rows that such nodes put in their places."""
    return {_numbers(flow, flow.flat.nodes[index]) for index in places}


def _placed(node: Node) -> Tensor:
    return node.data[1] if node.op in _SUMS else node.data[-2]


def _numbers(flow: Dependence, node: Node) -> Tensor:
    numbers = _placed(node)
    while flow.flat.node(numbers).op in _UNIQUE:  # rows of the same number are put together before
        numbers = flow.flat.node(numbers).data[0]
    return numbers


def _table(flow: Dependence, lookup: Node) -> VariableRef | None:
    """The variable that rows are looked up in."""
    node = lookup
    while node.op == "Cast" or node is lookup:
        variable = flow.flat.variable(node)
        if variable is not None:
            return variable
        node = flow.flat.node(node.data[0])
    return flow.flat.variable(node)


def are_rows(shape: tuple[int | None, ...] | None, table: tuple[int | None, ...]) -> bool:
    """Whether a tensor of this shape may hold rows of a table of that one, however many."""
    return shape is not None and len(shape) == len(table) > 0 and shape[1:] == table[1:]


def rows_of(flow: Dependence, gradient: Tensor, places: Set[int]) -> Rows | None:
    """Where the rows go that a gradient consists of; None of what is no gradient of rows."""
    flat, table = flow.flat, flow.flat.shape(gradient)
    numbers, placed, counts = set[Tensor](), set[Tensor](), set[Tensor]()
    stack, seen = [gradient[0]], {gradient[0]}
    while stack:
        for index in flow.consumers[stack.pop()]:
            node = flat.nodes[index]
            if index in seen:
                continue
            seen.add(index)
            if index not in places:
                if table is not None and are_rows(flat.shape((index, 0)), table):
                    stack.append(index)
            else:
                numbers.add(_numbers(flow, node))
                placed.add(_placed(node))
                counts |= {node.data[2]} if node.op in _SUMS else set()
    first = _first(flow, numbers)
    differ = all(_differ(flow, tensor) for tensor in first)
    return Rows(first, frozenset(placed), frozenset(counts), differ) if first else None


def _first(flow: Dependence, numbers: Set[Tensor]) -> frozenset[Tensor]:
    """Those of numbers that are not made of others: of rows that were put together, say."""
    made = flow.descendants(index for index, _ in numbers)
    return frozenset(
        tensor
        for tensor in numbers
        if not any(source in made for source in flow.producers[tensor[0]])
    )


def _differ(flow: Dependence, numbers: Tensor) -> bool:
    """Whether numbers are such that no two are the same: all positions of a sentence, say."""
    while (node := flow.flat.node(numbers)).op in _KEPT_APART:
        numbers = node.data[0]
    if node.op == "Range" or (node.op in _UNIQUE and numbers[1] == 0):
        return True
    known = flow.folder.value(numbers)
    return known is not None and len(set(known.reshape(-1).tolist())) == known.size
