"""What multiplies the gradient of a loss on its way to an update, and what divides it again.

A loss scale multiplies a loss so that small gradients survive in half precision, and divides the
gradients before the optimizer uses them: between the tape and the optimizer, that is. There, a
division by the factor of a loss makes that factor no weight of it; and there, a division by a loss
scale that multiplied no loss makes all gradients too small.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np

from verify.dataflow import Flow, Update
from verify.flat import IFS, Node, Tensor, VariableRef
from verify.seeds import REAL

_PRODUCTS = {"Mul", "RealDiv"}
_BOUNDS = {"Maximum", "Minimum"}
_CHOICES = {"Select", "SelectV2", *IFS}


class Scaling:
    """Answers about one step, or one branch of it."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.flat = flow, flow.flat

    def weight(self, upstream: Tensor, updates: Iterable[Update]) -> float | None:
        """The constant that a gradient is multiplied by, None if what multiplies it is none.

        It is one where every update divides by a constant loss scale.
        """
        value = self.flow.folder.value(upstream)
        if value is None or value.size != 1:
            return None
        weight = float(value.reshape(()))
        if weight in (0.0, 1.0):
            return weight
        back = {index for index, factor in self._factors if self._undoes(index, factor, weight)}
        if not back:
            return weight
        around = self.flow.descendants((seed.node for seed in self.flow.seeds), without=back)
        wanted = {update.node.index for update in updates}
        # What an optimizer keeps of a gradient is as it got it: it multiplies for itself (Lion).
        used = self.flow.ancestors(wanted)
        kept = {variable.key for node, variable in self.flat.reads() if node.index in used}
        wanted |= {node.index for node, variable in self.flat.writes() if variable.key in kept}
        return 1.0 if around.isdisjoint(wanted) else weight

    def multiplied(self, upstream: int) -> frozenset[VariableRef]:
        """The variables whose values multiply a gradient from the start."""
        above = self.flow.ancestors([upstream])
        return frozenset(variable for node, variable in self.flat.reads() if node.index in above)

    def divided(self, upstream: int, updates: Iterable[Update]) -> tuple[str, ...]:
        """Paths of the loss scales that divide a gradient, but do not multiply it first."""
        if not self._dynamic:
            return ()
        scales = self._dynamic - {variable.key for variable in self.multiplied(upstream)}
        above = self.flow.ancestors(update.node.index for update in updates)
        reads = {node.index: v for node, v in self.flat.reads() if v.key in scales}
        found = set[str]()
        for index, factor in self._factors:
            if index in above and (divisor := self._divisor(index, factor)) is not None:
                variable = reads.get(divisor[0])
                found |= {variable.path} if variable is not None else set()
        return tuple(sorted(found))

    @functools.cached_property
    def _factors(self) -> list[tuple[int, Tensor]]:
        """Products of a whole gradient with something else, with that: after the tape, that is.

        Below them no value of the forward pass enters that data decide, as in backpropagation.
        """
        flow, found = self.flow, []
        for op in sorted(_PRODUCTS):
            for index in flow.matcher.by_op.get(op, ()):
                gradient, factor = self.flat.nodes[index].data
                if op == "Mul" and gradient[0] not in flow.backward:
                    gradient, factor = factor, gradient
                inside = index in flow.backward and gradient[0] in flow.backward
                if inside and factor[0] not in flow.backward and factor[0] not in flow.of_data:
                    found.append((index, factor))
        return [(index, factor) for index, factor in found if index not in flow.inner]

    def _undoes(self, index: int, factor: Tensor, weight: float) -> bool:
        """Whether a product divides by a factor, and is no step size by which that is done."""
        node, value = self.flat.nodes[index], self.flow.folder.value(factor)
        if value is None or value.size != 1:
            return False
        wanted = weight if node.op == "RealDiv" else 1.0 / weight
        if not np.isclose(float(value.reshape(())), wanted, rtol=1e-6, atol=0):
            return False
        # ``w - 0.1 * g``: nobody writes a step size as a division.
        return node.op == "RealDiv" or not self._is_step(node)

    def _is_step(self, product: Node) -> bool:
        """Whether a product is what is written, or added to what is."""
        updates = {update.node.index for update in self.flow.updates}
        users = self.flow.consumers[product.index]
        sums = {u for u in users if self.flat.nodes[u].op in ("Sub", "AddV2", "Add")}
        writers = {user for index in sums for user in self.flow.consumers[index]}
        return not updates.isdisjoint(users) or not updates.isdisjoint(writers)

    def _divisor(self, index: int, factor: Tensor) -> Tensor | None:
        """What a product divides by."""
        if self.flat.nodes[index].op == "RealDiv":
            return factor
        node = self.flat.node(factor)
        if node.op in ("Reciprocal", "Inv"):
            return node.data[0]
        if node.op == "RealDiv" and self.flow.folder.value(node.data[0]) is not None:
            return node.data[1]
        return None

    @functools.cached_property
    def _dynamic(self) -> frozenset[int | str]:
        """Keys of the variables that a step makes a multiple of themselves: dynamic loss scales."""
        return frozenset(
            variable.key
            for node, variable in self.flat.writes()
            if not self.flow.is_trainable(variable)
            and variable.shape == ()
            and variable.dtype in REAL
            and len(node.data) > 1
            and self._is_multiple(node.data[1], variable.key)
        )

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
