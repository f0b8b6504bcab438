"""How often a branch of a step writes a variable, the turns of its loops counted."""

from __future__ import annotations

import math

from verify.flow import Flow
from verify.graphs import Guard, Node
from verify.match import NoValueError


def written(flow: Flow, key: int | str) -> int:
    """How often a variable is written in what is looked at, by its key.

    Raises:
        NoValueError: a loop has no number of turns that is known.
    """
    every = (node for node, v in flow.flat.writes() if v.key == key and flow.inside(node))
    return sum(_times(flow, node) for node in every)


def updated(flow: Flow, key: int | str) -> int:
    """How often a variable is written by a gradient.

    Raises:
        NoValueError: a loop has no number of turns that is known.
    """
    return sum(_times(flow, update.node) for update in flow.trained_of.get(key, ()))


def _times(flow: Flow, node: Node) -> int:
    return math.prod(_turns(flow, loop) for loop in flow.flat.loops(node.path))


def _turns(flow: Flow, loop: Guard) -> int:
    """From what to what a loop counts."""
    flat = flow.flat
    test = flat.node(flat.through(loop.predicate))
    if test.op == "Less":
        (counter, place), end = test.data
        around = flat.nodes[counter]
        begun = flow.folder.value(around.data[place]) if place < len(around.data) else None
        bound = flow.folder.value(end)
        if begun is not None and bound is not None and begun.size == bound.size == 1:
            return int(bound) - int(begun)
    raise NoValueError(f"{loop.name} has no number of turns that is known")
