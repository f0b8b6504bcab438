"""Which random numbers a step draws, and whether they are others in the next step.

What draws from a state of its own does that. What draws from a seed does it if the seed is another
one: decided by a variable that the step changes, by what the step is handed, or by another draw.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from verify.find.changed import Changed
from verify.find.observed import Array, Observed
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
from verify.references import traced_again

_DRAWS = 2  # of what variables hold, in which a seed is looked at
_FEW = 3  # different numbers of a constant that somebody may have written down


@dataclasses.dataclass(frozen=True)
class RandomNumbers:
    """Numbers that an op draws. `frozen`: why they are the same in every step; empty if not."""

    node: Node
    frozen: str


class Draws:
    """Answers about one step, or one branch of it. What it has found is kept."""

    def __init__(self, observed: Observed, changed: Changed) -> None:
        self.observed, self.changed = observed, changed

    @functools.cached_property
    def all(self) -> list[RandomNumbers]:
        """What ops draw that decides trained variables."""
        return list(random_numbers(self.observed, self.changed))

    @functools.cached_property
    def frozen_constants(self) -> list[Node]:
        """Numbers that decide trained variables, and that another trace has others for.

        Raises:
            Untraced: the step can't be traced again.
        """
        step = self.observed.step
        return frozen_constants(self.observed, traced_again(step.owner, step.arguments))

    @property
    def doubtful_constants(self) -> list[Node]:
        """Constants of several real numbers that decide trained variables."""
        return doubtful_constants(self.observed)


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
    """Whether an op is handed the same seeds in two steps after one another, going by values.

    The first step may begin anywhere: what it sets seeds to shows in the second and the third.
    """
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
    first = Evaluation(observed.plan, feed)
    second = Evaluation(observed.plan, _Next(first, feed))
    third = Evaluation(observed.plan, _Next(second, feed))

    def are_same(one: Evaluation, other: Evaluation) -> bool:
        pairs = ((one.value(tensor), other.value(tensor)) for tensor in seeds)
        return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)

    return are_same(first, second) or are_same(second, third)


def frozen_constants(observed: Observed, again: FlatGraph) -> list[Node]:
    """Numbers of a graph that another trace of the same function has others for.

    Those that decide what a trained variable becomes. Where the traces differ in their ops, real
    numbers that are nowhere in the other one.
    """
    flat = observed.flat
    aligned = [node.op for node in flat.nodes] == [node.op for node in again.nodes]
    if aligned:
        return [
            node
            for node, value in _numbers(observed)
            if (other := again.constant((node.index, 0))) is not None
            and not np.array_equal(value, other)
        ]
    others = (again.constant((node.index, 0)) for node in again.nodes if node.op == "Const")
    there = {_told(value) for value in others if value is not None}
    return [n for n, value in _numbers(observed) if _is_real(value) and _told(value) not in there]


def doubtful_constants(observed: Observed) -> list[Node]:
    """Constants of several real numbers, which may have been drawn while the step was traced."""
    found = ((n, value) for n, value in _numbers(observed) if _is_real(value))
    return [node for node, value in found if len(np.unique(value)) > _FEW]


def _numbers(observed: Observed) -> Iterator[tuple[Node, Array]]:
    """The constants that decide what a trained variable becomes."""
    flow, flat = observed.flow, observed.flat
    for index in sorted(flow.ancestors(update.node.index for update in flow.trained)):
        node = flat.nodes[index]
        value = flat.constant((index, 0)) if node.op == "Const" else None
        if value is not None and node.dtypes[0] in NUMBERS:
            yield node, value


def _is_real(value: Array) -> bool:
    return value.dtype.kind not in "iub"


def _told(value: Array) -> tuple[str, tuple[int, ...], bytes]:
    return str(value.dtype), value.shape, value.tobytes()
