"""How often a branch of a step writes a variable, the turns of its loops counted."""

from __future__ import annotations

import math

from verify.flow import Flow
from verify.graphs import Guard
from verify.match import NoValueError


def written(flow: Flow, key: int | str) -> int:
    """How often a variable is written in what is looked at, by its key.

    Raises:
        NoValueError: a loop has no number of turns that is known.
    """
    flat = flow.flat
    return sum(
        math.prod(_turns(flow, loop) for loop in flat.loops(node.path))
        for node, variable in flat.writes()
        if variable.key == key and flow.inside(node)
    )


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
