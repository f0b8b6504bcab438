"""Which gradient reaches which update, and what else is done to weights.

A backward pass begins at a seed (see `verify.flow.seeds`). Everything that depends on one is
backward pass or optimizer; a variable is trained if the value written to it depends on one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Set

import numpy as np

from verify.flow.dependence import Dependence
from verify.flow.seeds import REAL, Seed, Seeds
from verify.graphs import FlatGraph, Node, VariableRef, exclusive

# Ops that tell whether a number is one.
_FINITENESS = ("IsFinite", "IsInf", "IsNan")
SUMS = {"Add", "AddN", "AddV2", "Sub"}
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
        return Seeds(self).found()

    @functools.cached_property
    def backward(self) -> set[int]:
        """The backward pass and the optimizer: everything that depends on a seed."""
        return self.descendants(seed.node for seed in self.seeds)

    @functools.cached_property
    def trained(self) -> list[Update]:
        """The updates whose value depends on a gradient, and not on zero times that alone."""
        reached = self.backward
        if self.zeroed:
            seeds = (seed.node for seed in self.seeds)
            reached = self.descendants(seeds, without=self.zeroed)
        return [update for update in self.updates if update.node.index in reached]

    @functools.cached_property
    def zeroed(self) -> frozenset[int]:
        """Where the backward pass is multiplied by zeros."""
        return frozenset(i for i in self.backward if self._is_zeroed(self.flat.nodes[i]))

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

    def _is_zeroed(self, node: Node) -> bool:
        if node.op != "Mul":
            return False
        values = (self.folder.value(tensor) for tensor in node.data)
        return any(value is not None and not value.any() for value in values)

    @functools.cached_property
    def inner(self) -> set[int]:
        """The backward pass where it is not over: values that data decide enter it further on."""
        return self.ancestors(self.entries)

    @functools.cached_property
    def entries(self) -> set[int]:
        """Where values of the forward pass that data decide enter the backward pass."""
        of_data = self.of_data
        return {index for index, sources in self.takes.items() if not of_data.isdisjoint(sources)}

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
        """The trained updates by gradients that another one, before it, applies to the variable."""
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
        return found

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
            node.op in _LINEAR and not self._is_zeroed(node) and not self._is_masked(node)
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
