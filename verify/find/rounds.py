"""A step that updates variables several times, as if it did so once: a critic, say, before a GAN's
generator. Several updates by one gradient are looked at one by one as well.

Of the writes that belong to one of these rounds, only those of that are made, and of a loop one
turn: what the step reads then is what it holds before, as an optimizer would find it.
"""

from __future__ import annotations

from verify.flow import Flow, Update
from verify.graphs import FlatGraph, Node, exclusive

Part = tuple[int, int] | tuple[str, ...]
"""How many rounds there are and which is meant, or the call path of what a loop does in a turn."""


def part_of(flow: Flow, update: Update) -> Part | None:
    """Where an update may be the only one of its variable; None if that is the whole step."""
    path = update.node.path
    if flow.flat.loops(path):
        return path
    every = [
        other
        for other in flow.trained_of.get(update.variable.key, ())
        if other.variable.replica == update.variable.replica
        and not exclusive(other.node.path, update.node.path)
    ]
    if len(every) < 2:
        return None
    places = sorted(other.node.index for other in every)
    return len(every), places.index(update.node.index)


def alone(flow: Flow, part: Part) -> FlatGraph:
    """A step, or one branch of it, of which only such a part is made."""
    match part:
        case (int(rounds), int(which)):
            return _one_round(flow, rounds, which)
        case path:
            return flow.flat.in_one_turn(path)


def _one_round(flow: Flow, rounds: int, which: int) -> FlatGraph:
    """A step of several rounds without the writes of the others.

    A variable that is written as often as there are rounds, or twice as often, is written as often
    in each.
    """
    writes: dict[tuple[int | str, int], list[Node]] = {}
    for node, variable in flow.flat.writes():
        if flow.inside(node):
            writes.setdefault((variable.key, variable.replica), []).append(node)
    left_out = set[int]()
    for nodes in writes.values():
        each, left = divmod(len(nodes), rounds)
        if each and not left:
            left_out |= {node.index for place, node in enumerate(nodes) if place // each != which}
    return flow.flat.without(left_out)
