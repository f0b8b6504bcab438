"""What multiplies the gradient of a loss on its way to an update, and what divides it again.

A loss scale multiplies a loss so that small gradients survive in half precision, and divides the
gradients before the optimizer uses them: between the tape and the optimizer, that is. It is a power
of two, so that this changes no digit; any other factor of a loss is its weight, whatever step size
or momentum may be its reciprocal. A scale has to do both: what is only divided by it trains too
slowly, what is only multiplied by it trains too fast.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping

import numpy as np

from verify.flow.gradient_flow import Flow, Update
from verify.flow.seeds import REAL
from verify.graphs import IFS, Node, Tensor, VariableRef

_QUOTIENTS = {"DivNoNan", "RealDiv"}
_PRODUCTS = {"Mul", *_QUOTIENTS}
# What a scale may go through on its way back to its variable; none of this names a loss or a clip.
_BOUNDS = {"Maximum", "Minimum"}
_CHOICES = {"Select", "SelectV2", *IFS}
_MOST = 4  # divisions on one way that are told apart


class Scaling:
    """Answers about one step, or one branch of it."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.flat = flow, flow.flat

    def weight(self, upstream: Tensor, updates: Iterable[Update]) -> float | None:
        """The constant that a gradient is multiplied by, None if what multiplies it is none.

        It is one where every update divides, once, by a constant loss scale.
        """
        value = self.flow.folder.value(upstream)
        if value is None or value.size != 1:
            return None
        return self.constant(float(value.reshape(())), upstream[0], updates)

    def constant(self, weight: float, upstream: int, updates: Iterable[Update]) -> float:
        """What is left of a constant that a gradient is multiplied by, without a loss scale."""
        if weight <= 1 or math.frexp(weight)[0] != 0.5:
            return weight
        back = {index: 1 for index, factor in self._factors if self._undoes(index, factor, weight)}
        return 1.0 if back and self._divisions(upstream, back, updates) == {1} else weight

    def is_undone(self, upstream: Tensor, weight: float | None) -> bool:
        """Whether what multiplies a gradient divides it again; any variable is taken to.

        `weight`: what is left of it, see above.
        """
        value = self.flow.folder.value(upstream)
        return value is None or weight is None or weight != float(value.reshape(()))

    def multiplied(self, upstream: int) -> frozenset[VariableRef]:
        """The variables whose values multiply a gradient from the start."""
        above = self.flow.ancestors([upstream])
        return frozenset(variable for node, variable in self.flat.reads() if node.index in above)

    def factors(self, upstream: int) -> frozenset[VariableRef]:
        """The variables that weigh a loss: those that no gradient is divided by again."""
        # A loss scale may itself depend on weights, by a pass before that has adapted it.
        above = self.flow.ancestors([upstream], without=self.dynamic.keys())
        read = {variable for node, variable in self.flat.reads() if node.index in above}
        return frozenset(v for v in read if not list(self._divided(v.key)))

    def _divided(self, key: int | str) -> Iterable[int]:
        """Where a gradient is divided by a variable."""
        for index, factor in self._factors:
            divisor = self._read(factor) if self.flat.nodes[index].op in _QUOTIENTS else None
            for read in (divisor, self._divisor_read(factor)):
                variable = None if read is None else self.flat.variable(self.flat.nodes[read])
                if variable is not None and variable.key == key:
                    yield index

    def misuse(self, upstream: int, updates: Iterable[Update]) -> list[str]:
        """What is wrong with the dynamic loss scales of a gradient, as text."""
        if not self.dynamic:
            return []
        updates, wrong = list(updates), []
        above = self.flow.ancestors(update.node.index for update in updates)
        by = {variable.key for variable in self.multiplied(upstream)}
        for variable in dict.fromkeys(self.dynamic.values()):
            change = {index: n for index, n in self._changes(variable.key) if index in above}
            if variable.key not in by and change:
                wrong.append(f"divided by {variable.path}, a loss scale that multiplies no loss")
            elif variable.key in by and self._divisions(upstream, change, updates) != {1}:
                wrong.append(
                    f"multiplied by the loss scale {variable.path}, not divided by it once"
                )
        return wrong

    def _changes(self, key: int | str) -> Iterable[tuple[int, int]]:
        """Products of a gradient with a scale, and how often they divide by it: once, or minus."""
        for index, factor in self._factors:
            reads = {self._read(factor): -1, self._divisor_read(factor): 1}
            if self.flat.nodes[index].op in _QUOTIENTS:
                reads = {read: -n for read, n in reads.items()}
            for read, n in reads.items():
                if read is not None and read in self.dynamic and self.dynamic[read].key == key:
                    yield index, n

    @functools.cached_property
    def dynamic(self) -> dict[int, VariableRef]:
        """What reads a dynamic loss scale: a variable that gradients make a multiple of itself.

        Its writes depend on gradients, as on their being finite, or are chosen by them.
        """
        backward = self.flow.backward
        chosen = [
            branch
            for guard in self.flat.guards
            if guard.predicate[0] in backward
            for branch in guard.branches
        ]
        keys = {
            variable.key
            for node, variable in self.flat.writes()
            if not self.flow.is_trainable(variable)
            and variable.shape == ()
            and variable.dtype in REAL
            and len(node.data) > 1
            and self._is_multiple(node.data[1], variable.key)
            and (node.index in backward or any(node.path[: len(b)] == b for b in chosen))
        }
        return {node.index: v for node, v in self.flat.reads() if v.key in keys}

    def _divisions(
        self, upstream: int, change: Mapping[int, int], updates: Iterable[Update]
    ) -> set[int]:
        """How often a gradient is divided on each of its ways to these updates.

        `change`: by node, how often that divides; minus one where it multiplies instead.
        """
        flow = self.flow
        wanted = {update.node.index for update in updates}
        # What an optimizer keeps of a gradient is as it got it: it multiplies for itself.
        used = flow.ancestors(wanted)
        read = (variable for node, variable in self.flat.reads() if node.index in used)
        kept = {variable.key for variable in read if not flow.is_trainable(variable)}
        kept -= {variable.key for variable in self.dynamic.values()}
        wanted |= {node.index for node, variable in self.flat.writes() if variable.key in kept}
        seen = {(upstream, 0)}
        stack = list(seen)
        while stack:
            index, count = stack.pop()
            for user in flow.consumers[index]:
                way = (user, count + change.get(user, 0))
                if user not in flow.checks and way not in seen and abs(way[1]) <= _MOST:
                    seen.add(way)
                    stack.append(way)
        return {count for index, count in seen if index in wanted}

    @functools.cached_property
    def _factors(self) -> list[tuple[int, Tensor]]:
        """Products of a whole gradient with something else, with that: after the tape, that is.

        Below them no value of the forward pass enters that data decide, as in backpropagation.
        """
        flow, found = self.flow, []
        inner = flow.ancestors(flow.multiplied, self.dynamic.keys())
        for op in sorted(_PRODUCTS):
            for index in flow.matcher.by_op.get(op, ()):
                gradient, factor = self.flat.nodes[index].data
                if op == "Mul" and gradient[0] not in flow.backward:
                    gradient, factor = factor, gradient
                if index in inner or index not in flow.backward:
                    continue
                if gradient[0] in flow.backward and not self._decided_by_data(factor):
                    found.append((index, factor))
        return found

    def _decided_by_data(self, factor: Tensor) -> bool:
        """A scale that an earlier pass of the step has adapted is not."""
        if {self._read(factor), self._divisor_read(factor)} & self.dynamic.keys():
            return False
        return factor[0] in self.flow.backward or factor[0] in self.flow.of_data

    def _undoes(self, index: int, factor: Tensor, weight: float) -> bool:
        """Whether a product divides by a factor, and is no step size by which that is done."""
        node, value = self.flat.nodes[index], self.flow.folder.value(factor)
        if value is None or value.size != 1:
            return False
        wanted = weight if node.op in _QUOTIENTS else 1.0 / weight
        if not np.isclose(float(value.reshape(())), wanted, rtol=1e-6, atol=0):
            return False
        # ``w - 0.5 * g``: nobody writes a step size as a division.
        return node.op in _QUOTIENTS or not self._is_step(node)

    def _is_step(self, product: Node) -> bool:
        """Whether a product is what is written, or added to what is."""
        updates = {update.node.index for update in self.flow.updates}
        users = self.flow.consumers[product.index]
        sums = {u for u in users if self.flat.nodes[u].op in ("Sub", "AddV2", "Add")}
        writers = {user for index in sums for user in self.flow.consumers[index]}
        return not updates.isdisjoint(users) or not updates.isdisjoint(writers)

    def _divisor_read(self, factor: Tensor) -> int | None:
        """The read of the variable that something is the reciprocal of."""
        node = self._before_casts(factor)
        if node.op in ("Reciprocal", "Inv"):
            return self._read(node.data[0])
        if node.op in _QUOTIENTS and self.flow.folder.value(node.data[0]) is not None:
            return self._read(node.data[1])
        return None

    def _read(self, tensor: Tensor) -> int | None:
        node = self._before_casts(tensor)
        return node.index if self.flat.variable(node) is not None else None

    def _before_casts(self, tensor: Tensor) -> Node:
        node = self.flat.node(tensor)
        while node.op == "Cast":
            node = self.flat.node(node.data[0])
        return node

    def _is_multiple(self, value: Tensor, key: int | str) -> bool:
        """Whether a value is that of a variable times constants, perhaps one of several such."""
        multiplied, read, stack, seen = False, False, [value], set[Tensor]()
        while stack:
            tensor = stack.pop()
            if tensor in seen or self.flow.folder.value(tensor) is not None:
                continue
            seen.add(tensor)
            node = self.flat.node(tensor)
            variable = self.flat.variable(node)
            if variable is not None and variable.key == key:
                read = True
            elif node.op in _PRODUCTS:
                multiplied = True
                stack += node.data
            elif node.op in _BOUNDS | _CHOICES:
                # Whatever chooses among them.
                stack += node.data if node.op in _BOUNDS else node.data[1:]
            else:
                return False
        return multiplied and read
