"""Which random numbers a step draws, and whether they are others in the next step.

What draws from a state of its own does that. What draws from a seed does it if the seed is another
one: decided by a variable that the step changes, by what the step is handed, or by another draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from verify.find.changed import Changed
from verify.find.observed import Observed
from verify.graphs import (
    FlatGraph,
    Node,
    Tensor,
    VariableRef,
    draws,
    is_stateful,
    seed_inputs,
)
from verify.match import NUMBERS, Evaluation, NoValueError, Paired

_DRAWS = 2  # of what variables hold, in which a seed is looked at


@dataclasses.dataclass(frozen=True)
class RandomNumbers:
    """Numbers that an op draws. `frozen`: why they are the same in every step; empty if not."""

    node: Node
    frozen: str


class _Next(Paired):
    """Feeds a step with what variables hold after another one."""

    def __init__(self, before: Evaluation, feed: Paired) -> None:
        super().__init__(before.flat, feed.names, feed.draw)
        self.before = before

    def variable(self, variable: VariableRef) -> object:
        return self.before.final(variable)


def random_numbers(observed: Observed, changed: Changed) -> Iterator[RandomNumbers]:
    """Those that decide what a trained variable becomes, in the order of their ops.

    What is drawn for the seed of another draw is a part of that.
    """
    flow, flat = observed.flow, observed.flat
    drawing = {node.index for node in flat.nodes if draws(node.op)}
    updates = (update.node.index for update in flow.trained)
    deciding = flow.ancestors(updates, without=drawing)
    for index in sorted(drawing):
        if not deciding.isdisjoint(flow.consumers[index]):
            node = flat.nodes[index]
            yield RandomNumbers(node, _why_frozen(observed, changed, node))


def _why_frozen(observed: Observed, changed: Changed, node: Node) -> str:
    flow, flat = observed.flow, observed.flat
    if is_stateful(node.op):
        return ""
    seeds = [node.data[position] for position in seed_inputs(node.op)]
    above = flow.ancestors(source for source, _ in seeds)
    drawn = {index for index in above if draws(flat.nodes[index].op)}
    if any(is_stateful(flat.nodes[index].op) for index in drawn) or above & {*flow.data} - drawn:
        return ""
    variables = flat.read_for(seeds)
    if not variables:
        return "from a constant seed"
    paths = ", ".join(sorted(variable.path for variable in variables))
    moved = changed.by(variables)
    if not moved:
        return f"from a seed that only {paths} decides, which the step does not change"
    if _is_same_next(
        observed, node, seeds, [write for writes in moved.values() for write in writes]
    ):
        return f"from a seed of {paths} that is the same in the next step"
    return ""


def _is_same_next(observed: Observed, node: Node, seeds: list[Tensor], writes: list[Node]) -> bool:
    """Whether an op is handed the same seeds in two steps after one another, going by values."""
    flat = observed.flat
    # Branches are taken or not: nobody knows what the next step does.
    if any(True for one in (node, *writes) for _ in flat.around(one.path)):
        return False
    try:
        return all(_same(observed, seeds, draw) for draw in range(_DRAWS))
    except NoValueError:
        return False


def _same(observed: Observed, seeds: list[Tensor], draw: int) -> bool:
    feed = Paired(observed.flat, observed.step.paths, draw)
    now = Evaluation(observed.plan, feed)
    following = Evaluation(observed.plan, _Next(now, feed))

    def is_same(tensor: Tensor) -> bool:
        return np.array_equal(np.asarray(now.value(tensor)), np.asarray(following.value(tensor)))

    return all(map(is_same, seeds))


def frozen_constants(observed: Observed, again: FlatGraph) -> list[Node]:
    """Numbers of a graph that another trace of the same function has others for.

    Those that decide what a trained variable becomes. None where the traces differ in their ops.
    """
    flow, flat = observed.flow, observed.flat
    if [node.op for node in flat.nodes] != [node.op for node in again.nodes]:
        return []
    deciding = flow.ancestors(update.node.index for update in flow.trained)
    found = []
    for index in sorted(deciding):
        node = flat.nodes[index]
        if node.op == "Const" and node.dtypes[0] in NUMBERS:
            one, other = flat.constant((index, 0)), again.constant((index, 0))
            if one is not None and other is not None and not np.array_equal(one, other):
                found.append(node)
    return found
