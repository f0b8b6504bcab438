"""Random numbers that a forward pass draws from no state of a model: by `tf.random`, say.

Two draws are of one kind if the same is done to them until they meet something else, and that is
computed from the same variables: so what a model draws is found again in a step that calls it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Set
from typing import Any

from verify.flow import REAL, Dependence
from verify.graphs import Node, Tensor, draws
from verify.references import Keys

Kind = Hashable


def drawn(
    flow: Dependence, results: Iterable[Tensor], weights: Keys, seeds: Keys
) -> Iterator[tuple[Kind, Node]]:
    """The draws that some tensors are computed from, by kind.

    Args:
        weights: keys of the variables that tell kinds apart.
        seeds: keys of the variables from whose state a draw is none of these.
    """
    flat = flow.flat
    above = flow.ancestors(index for index, _ in results)
    for index in sorted(above):
        node = flat.nodes[index]
        if draws(node.op) and seeds.isdisjoint(v.key for v in _seeding(flow, node)):
            yield _kind(flow, node, above, weights), node


def _seeding(flow: Dependence, node: Node) -> Iterator[Any]:
    """The variables of whole numbers that are read for a draw."""
    read = flow.flat.read_for(node.data)
    own = flow.flat.variable(node)
    for variable in (*read, *(() if own is None else (own,))):
        if variable.dtype not in REAL:
            yield variable


def _kind(flow: Dependence, draw: Node, above: Set[int], weights: Keys) -> Kind:
    flat, node, done = flow.flat, draw, list[Hashable]()
    while True:
        users = [flat.nodes[i] for i in flow.consumers[node.index] if i in above]
        others = [
            tensor
            for user in users
            for tensor in user.data
            if tensor[0] != node.index and flow.folder.value(tensor) is None
        ]
        if len(users) != 1 or others:
            met = frozenset(v.key for v in flat.read_for(others)) & weights
            return draw.op, draw.dtypes[0], *done, *sorted({u.op for u in users}), met
        constants = (flow.folder.value(tensor) for tensor in users[0].data)
        done.append((users[0].op, *(c.tobytes() for c in constants if c is not None)))
        node = users[0]
