"""Which gradient reaches which update, and what else is done to weights.

A backward pass begins at a seed (see `verify.flow.seeds`). Everything that depends on one is
backward pass or optimizer; a variable is trained if the value written to it depends on one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Set

import numpy as np

from verify.flow.dependence import SUMS, Dependence
from verify.flow.round_trips import round_trips
from verify.flow.rows import numbers_of, placing, tables
from verify.flow.seeds import REAL, Seed, Seeds
from verify.flow.wholes import Wholes
from verify.graphs import (
    IDENTITIES,
    RESHAPES,
    FlatGraph,
    Node,
    Region,
    Tensor,
    VariableRef,
    branch_taken,
    exclusive,
)

# Ops that tell whether a number is one.
_FINITENESS = ("IsFinite", "IsInf", "IsNan")
_MOVES = {"Cast", *IDENTITIES, *RESHAPES}
_LINEAR = {"Mul", "Sub", "AddV2", "Add", "AddN", "Neg", "RealDiv", "Cast"}


@dataclasses.dataclass(frozen=True)
class Update:
    """A write to a trainable variable."""

    node: Node
    variable: VariableRef


class Flow(Dependence):
    """How gradients flow over one flat graph, or over one branch of it (`region`, a call path)."""

    @functools.cached_property
    def updates(self) -> list[Update]:
        """Every write to a trainable variable in this region, whatever its value."""
        return [
            Update(node, variable)
            for node, variable in self.flat.writes()
            if self.is_trainable(variable) and self.inside(node)
        ]

    @functools.cached_property
    def seeds(self) -> list[Seed]:
        """Where backward passes of this region start."""
        return Seeds(self, self.wholes).found()

    @functools.cached_property
    def wholes(self) -> Wholes:
        """Which tensors backward passes go back from."""
        return Wholes(self)

    def sums_of(self, seed: Seed) -> list[Tensor]:
        """A loss, and the sums that it is a part of on the way forward: one is differentiated."""
        return self.wholes.sums(seed.node, seed.loss)

    @functools.cached_property
    def whole(self) -> dict[Seed, Tensor]:
        """What each backward pass differentiates: a loss, or the sum that it is a part of."""
        return {seed: self.wholes.of(seed.node, seed.loss) for seed in self.seeds}

    @functools.cached_property
    def backward(self) -> set[int]:
        """The backward pass and the optimizer: everything that depends on a seed."""
        return self.descendants(seed.node for seed in self.seeds)

    @functools.cached_property
    def trained(self) -> list[Update]:
        """The updates whose value depends on a gradient, and not on zero times that alone.

        They are made sometimes, and what they write is left behind.
        """
        reached = self.backward
        if self.zeroed:
            seeds = (seed.node for seed in self.seeds)
            reached = self.descendants(seeds, without=self.zeroed)
        lost = {update.node.index for update in self.lost}
        return [u for u in self.updates if u.node.index in reached and u.node.index not in lost]

    @functools.cached_property
    def lost(self) -> dict[Update, str]:
        """Updates of which nothing is left in any step, with the reason."""
        found: dict[Update, str] = {}
        for update in self.updates:
            if self.is_never_made(update.node):
                found[update] = "a constant always chooses another branch"
            elif (later := self._undone_by(update)) is not None:
                found[update] = f"{later.id} sets the variable to something else afterwards"
        every = ((update.node, update.variable) for update in self.updates)
        for there, back in round_trips(self, every):
            found.setdefault(Update(*there), f"{back[0].id} takes it back")
            found.setdefault(Update(*back), f"it takes back {there[0].id}")
        return found

    @functools.cached_property
    def unseen(self) -> list[Update]:
        """Updates by what data and weights decide together, and that no backward pass explains.

        What adds up both, a moving average of activations say, trains nothing.
        """
        both = self.of_data & self.of_weights
        found = []
        for update in self.updates:
            index = update.node.index
            if index not in both or index in self.backward or update in self.lost:
                continue
            above = (self.flat.nodes[i] for i in self.ancestors([index]) & both - {index})
            if not all(self._adds_up(node, both) for node in above):
                found.append(update)
        return found

    def _adds_up(self, node: Node, both: Set[int]) -> bool:
        """Whether a node is linear in what data and weights decide, or moves it."""
        decided = [t for t in node.data if t[0] in self.of_data or t[0] in self.of_weights]
        if node.op in SUMS or node.op in _MOVES:
            return True
        return node.op in _LINEAR and len(decided) == 1 and decided[0][0] in both

    def is_never_made(self, node: Node) -> bool:
        """Whether a constant chooses another branch than the one that a node is in."""
        for guard, position in self.flat.choices(node.path):
            value = self.folder.value(guard.predicate)
            if value is not None:
                chosen = value.reshape(()).item()
                if branch_taken(guard.op, chosen, len(guard.branches)) != position:
                    return True
        return False

    def _undone_by(self, update: Update) -> Node | None:
        """What always sets the variable to something else afterwards, whatever was written."""
        mine = update.variable.key, update.variable.replica
        for node in self._assigned.get(mine, ()):
            if node.index <= update.node.index or update.node.path[: len(node.path)] != node.path:
                continue
            above = self.ancestors([node.index])
            again = (i for i, key in self.weights.items() if key == mine[0] and i in above)
            if not any(index > update.node.index for index in again):
                return node
        return None

    @functools.cached_property
    def _assigned(self) -> dict[tuple[int | str, int], list[Node]]:
        """Where variables are set, whatever they held, by no gradient."""
        found: dict[tuple[int | str, int], list[Node]] = {}
        for update in self.updates:
            if update.node.op == "AssignVariableOp" and update.node.index not in self.backward:
                place = update.variable.key, update.variable.replica
                found.setdefault(place, []).append(update.node)
        return found

    @functools.cached_property
    def zeroed(self) -> frozenset[int]:
        """Where the backward pass is multiplied by zeros.

        A gradient that comes to zero itself, of a bias in a difference of two means, is none.
        """
        backward, nodes = self.backward, self.flat.nodes
        return frozenset(i for i in backward if self.is_zeroed(nodes[i], besides=backward))

    def _is_masked(self, node: Node) -> bool:
        """Whether a product keeps or drops single weights: pruned ones, say."""
        if node.op != "Mul":
            return False
        for tensor in node.data:
            shape, value = self.flat.shape(tensor), self.folder.value(tensor)
            if not shape or self.weights.keys() & self.ancestors([tensor[0]]):
                continue
            if value is None or (value.size > 1 and bool(np.isin(value, (0, 1)).all())):
                return True
        return False

    def is_zeroed(self, node: Node, besides: Set[int] = frozenset()) -> bool:
        """Whether a node multiplies by zeros, by others than what some nodes make."""
        if node.op != "Mul":
            return False
        values = (self.folder.value(tensor) for tensor in node.data if tensor[0] not in besides)
        return any(value is not None and not value.any() for value in values)

    @functools.cached_property
    def inner(self) -> set[int]:
        """The backward pass where it is not over: values that data decide enter it further on."""
        return self.ancestors(self.entries)

    @functools.cached_property
    def propagated(self) -> set[int]:
        """The backward pass where it is not over: values that the losses are made of enter it.

        Or what is made of such values, as where they are within bounds. Of rows that were looked up
        in a table, their numbers decide nothing but where they go. What a model keeps besides its
        weights is one as well: a normalisation that infers divides by a moving variance.
        """
        # Of a sum of losses, only one may be known as what a seed begins at.
        losses = {index for seed in self.seeds for index, _ in self.sums_of(seed)}
        forward = self.ancestors(losses)
        made_of = forward & (self.of_data | self.of_weights | self._of_state)
        values = self.descendants(made_of, without=self.backward)
        # And what is made of these numbers alone.
        numbers = {index for index, _ in numbers_of(self, self.placing)}
        values -= numbers | self.descendants(numbers, without=self.backward | forward)
        taking = (i for i, sources in self.takes.items() if not values.isdisjoint(sources))
        return self.ancestors(taking) & self.backward

    @property
    def _of_state(self) -> set[int]:
        """What reads real numbers, more than one, that are not trained."""
        return {
            node.index
            for node, v in self.flat.reads()
            if v.shape != () and v.dtype in REAL and not self.is_trainable(v)
        }

    @functools.cached_property
    def placing(self) -> frozenset[int]:
        """Where rows of a gradient, of what was looked up, are put in their places."""
        return placing(self, self.backward)

    @functools.cached_property
    def tables(self) -> frozenset[int | str]:
        """Keys of the variables that rows are looked up in."""
        return frozenset(tables(self))

    @functools.cached_property
    def entries(self) -> set[int]:
        """Where values of the forward pass that data decide enter the backward pass."""
        of_data = self.of_data
        return {index for index, sources in self.takes.items() if not of_data.isdisjoint(sources)}

    @functools.cached_property
    def multiplied(self) -> set[int]:
        """Those of them where they multiply, as in backpropagation: what is added is noise."""
        return {index for index in self.entries if self.flat.nodes[index].op not in SUMS}

    @functools.cached_property
    def takes(self) -> dict[int, list[int]]:
        """Where forward values enter the backward pass: by node of that, the values' nodes."""
        backward, nodes = self.backward, self.flat.nodes
        return {
            index: sources
            for index in backward
            if (sources := [source for source, _ in nodes[index].data if source not in backward])
        }

    @functools.cached_property
    def checks(self) -> frozenset[int]:
        """What asks whether a gradient is a number: a loss scale is adapted to it."""
        return frozenset(i for op in _FINITENESS for i in self.matcher.by_op.get(op, ()))

    @functools.cached_property
    def trained_of(self) -> dict[int | str, list[Update]]:
        """The same, by key of the variable."""
        found: dict[int | str, list[Update]] = {}
        for update in self.trained:
            found.setdefault(update.variable.key, []).append(update)
        return found

    @functools.cached_property
    def repeated(self) -> list[Update]:
        """The trained updates by gradients that are applied to the variable before already.

        By another one, or in the turn of a loop before, where the gradient is taken outside of it.
        """
        by_variable: dict[tuple[int | str, int], list[Update]] = {}
        for update in self.trained:
            variable = update.variable
            by_variable.setdefault((variable.key, variable.replica), []).append(update)
        seeds = {seed.node for seed in self.seeds}
        found = []
        for updates in by_variable.values():
            before: list[tuple[Update, set[int]]] = []
            for update in updates if len(updates) > 1 else ():
                # A pass of its own starts at a seed that no update before depends on.
                own = self.ancestors([update.node.index]) & seeds
                if any(
                    own <= theirs and not exclusive(update.node.path, other.node.path)
                    for other, theirs in before
                ):
                    found.append(update)
                before.append((update, own))
        return [*found, *self._turned(seeds)]

    def _turned(self, seeds: set[int]) -> Iterator[Update]:
        """The updates in each turn of a loop in which no backward pass begins."""
        for update in self.trained:
            loops = self.flat.loops(update.node.path)
            paths = (
                [self.flat.nodes[i].path for i in self.ancestors([update.node.index]) & seeds]
                if loops
                else []
            )
            for loop in loops:
                (body,) = loop.branches[:1]
                if paths and all(path[: len(body)] != body for path in paths):
                    yield update
                    break

    @functools.cached_property
    def decayed(self) -> list[Update]:
        """The updates by which a variable shrinks by a share of itself, beside any gradient."""
        found = set(self._shares_added)
        for update in self.updates:
            index = update.node.index
            if index not in self.backward and self._share(index, {index}) == update.variable.key:
                found.add(index)
        return [update for update in self.updates if update.node.index in found]

    @functools.cached_property
    def _shares_added(self) -> set[int]:
        """Updates by a gradient to which a share of the variable was added, after the tape."""
        found = set[int]()
        sums = {i for op in SUMS for i in self.matcher.by_op.get(op, ())} & self.backward
        for index in sums - self.inner if sums else ():
            sources = {source for source, _ in self.flat.nodes[index].data} - self.backward
            # ``w - step`` adds to the variable, not a share of it to the step.
            shares = (self._share(source) for source in sources - self.weights.keys())
            for key in {key for key in shares if key is not None}:
                below = self.descendants([index])
                updates = self.trained_of.get(key, ())
                found |= {u.node.index for u in updates if u.node.index in below}
        return found

    def _share(self, index: int, written: Set[int] = frozenset()) -> int | str | None:
        """Key of the variable that a value is made of alone: by linear ops and without data.

        `written`: the node itself, if it writes that value.
        """
        if index in self.of_data or index not in self.of_weights:
            return None
        above = self.ancestors([index])
        reads = [i for i in self.weights if i in above]
        keys = {self.weights[i] for i in reads}
        between = (self.descendants(reads) & above) - {*reads} - written
        nodes = [self.flat.nodes[i] for i in between]
        linear = all(
            node.op in _LINEAR and not self.is_zeroed(node) and not self._is_masked(node)
            for node in nodes
        )
        return keys.pop() if len(keys) == 1 and linear else None

    @functools.cached_property
    def differentiated(self) -> frozenset[int | str]:
        """Keys of the trainable variables that a differentiated loss is computed from."""
        losses = self.ancestors(seed.loss[0] for seed in self.seeds)
        return frozenset(key for index, key in self.weights.items() if index in losses)

    @functools.cached_property
    def scales(self) -> frozenset[int | str]:
        """Keys of the variables that multiply a loss before it is differentiated (a loss scale).

        They enter the backward pass before any value does that data or weights decide.
        """
        takes = self.takes
        entered = self.descendants(
            index
            for index, sources in takes.items()
            if not (self.of_data.isdisjoint(sources) and self.of_weights.isdisjoint(sources))
        )
        before = [source for index in takes.keys() - entered for source in takes[index]]
        above = self.ancestors(before)
        return frozenset(v.key for node, v in self.flat.reads() if node.index in above)


def differentiated(flat: FlatGraph) -> frozenset[int | str]:
    """Keys of the variables that a differentiated loss is computed from.

    Where a graph does not say what is trainable, these are what can be.
    """
    real = {v.key for v in flat.variables.values() if v.dtype in REAL}
    return Flow(flat, trainable=frozenset(real)).differentiated


def flow_of(
    flat: FlatGraph, region: Region = (), trainable: frozenset[int | str] | None = None
) -> Flow:
    """The flow over a graph, or one branch of it: the same for all that is asked of a step."""
    about = Flow, region, trainable
    return flat.remembered(about, None, lambda: Flow(flat, region, trainable))
