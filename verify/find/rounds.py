"""A step that updates variables several times, as if it did so once: a critic, say, before a GAN's
generator.

Of all writes of a variable that belong to one of these rounds, only those of that are made. What
the step reads then is what it holds before the round, as an optimizer would find it.
"""

from __future__ import annotations

from verify.flow import Flow, Update
from verify.graphs import FlatGraph, Node


def round_of(flow: Flow, update: Update) -> tuple[int, int] | None:
    """How often the variable of an update is updated, and which of these updates it is.

    None where it is updated once, or where several updates are by one gradient: that is no round.
    """
    every = [
        other
        for other in flow.trained_of.get(update.variable.key, ())
        if other.variable.replica == update.variable.replica
    ]
    if len(every) < 2 or not {*every}.isdisjoint(flow.repeated):
        return None
    return len(every), sorted(every, key=lambda other: other.node.index).index(update)


def one_round(flat: FlatGraph, rounds: int, which: int) -> FlatGraph:
    """A step of several rounds without the writes of the others.

    A variable that is written as often as there are rounds, or twice as often, is written as often
    in each.
    """
    writes: dict[tuple[int | str, int], list[Node]] = {}
    for node, variable in flat.writes():
        writes.setdefault((variable.key, variable.replica), []).append(node)
    left_out = set[int]()
    for nodes in writes.values():
        each, left = divmod(len(nodes), rounds)
        if each and not left:
            left_out |= {node.index for place, node in enumerate(nodes) if place // each != which}
    return flat.without(left_out)
