"""Where backward passes begin.

Which nodes belong to a backward pass is the one hard question of dataflow, since names and scopes
prove nothing. It starts at a seed: the constant one that a tape feeds in as the derivative of a
loss by itself. A constant one is a seed only if a consumer of it is, structurally, the gradient of
the very op that made some loss candidate (`VjpReferences` traces that gradient through TensorFlow's
own gradient functions).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from verify.flow.dependence import Dependence
from verify.flow.wholes import VJP, Wholes
from verify.graphs import FlatGraph, Node, Tensor, exclusive, same_branch
from verify.references import Operand

REAL = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class Seed:
    """A constant one that starts a backward pass, and the loss tensor it belongs to."""

    node: int
    loss: Tensor


class Seeds:
    """Finds the seeds in one graph, or in one branch of it."""

    def __init__(self, flow: Dependence, wholes: Wholes) -> None:
        self.flow, self.flat, self.wholes = flow, flow.flat, wholes
        self._makers: dict[Any, list[_Makers]] = {}
        # Of the seeds that are known: their passes, with what these take, and
        # their losses, with the ops that make these.
        self._passes, self._made = set[int](), set[int]()
        self._losses, self._judged = set[Tensor](), set[int]()

    def found(self) -> list[Seed]:
        """In the order of the graph."""
        seeds: list[Seed] = []
        constants = [i for op in ("Const", "Fill") for i in self.flow.matcher.by_op.get(op, ())]
        for node in (self.flat.nodes[index] for index in sorted(constants)):
            if self.flow.inside(node) and self._may_be_seed(node):
                loss = self._loss_of(node)
                if loss is not None:
                    seeds.append(Seed(node.index, loss))
                    self._add(seeds[-1])
        return seeds

    def _may_be_seed(self, node: Node) -> bool:
        """Whether a constant is one, or a vector of one number: the weight of each example."""
        if node.dtypes[:1] and node.dtypes[0] not in REAL:
            return False
        if node.op == "Const":
            value = self.flat.constant((node.index, 0))
        else:
            value = self.flow.folder.value(node.data[1])
        if value is None or value.size == 0:
            return False
        one = value.flat[0] == 1 or value.ndim == 1
        return bool(one and value.flat[0] != 0 and np.all(value == value.flat[0]))

    def _loss_of(self, seed: Node) -> Tensor | None:
        """The tensor whose backward pass `seed` starts, if there is one.

        Gradients of several ops may look alike: it is that of which the pass takes most. Where an
        op hands its upstream gradient on unchanged (a sum of losses), that is the tensor behind it.
        The losses and gradients of earlier seeds may look like this loss.
        """
        if not self.wholes.near(seed.index):
            return None
        start = (seed.index, 0)
        every = [
            (position, [*makers.with_inputs(self.flat, bound)])
            for makers in self._loss_candidates(self.flat.shape(start), self.flat.dtype(start))
            for position, bound in self._gradients(makers, seed)
        ]
        if not every:
            return None
        # Of the passes of a large graph, each has little to do with the losses of others.
        related = self.wholes.related(seed.index)
        some = [(position, [t for t in alike if t[0] in related]) for position, alike in every]
        loss = self._likeliest(seed, some)
        if some == every or (loss is not None and self._is_explained(seed, loss)):
            return loss
        return self._likeliest(seed, every)

    def _likeliest(self, seed: Node, every: Iterable[tuple[int, list[Tensor]]]) -> Tensor | None:
        """Of tensors that may be the loss, the one that the pass takes most of.

        Args:
            every: tensors alike, with the position of the input that a gradient is by.
        """
        below: set[int] | None = None
        found: dict[Tensor, None] = {}
        for position, alike in every:
            # What is written after the seed is part of a gradient, be it computed alike; so is
            # what an earlier pass takes or makes: a mean and its gradient divide alike.
            for loss in sorted(
                alike,
                key=lambda t: (t[0] > seed.index, self._is_made(t[0]), t in self._losses),
            ):
                node = self.flat.node(loss)
                # A branch may go back through a forward pass made before it was chosen.
                if not (self.flow.inside(node) or same_branch(node.path, seed.path)):
                    continue
                if exclusive(node.path, seed.path):
                    continue
                if node.data[position][0] not in self.flow.of_weights:
                    continue
                if below is None:
                    below = self.flow.descendants([seed.index])
                if node.index not in below:
                    found[loss] = None
        if len(found) < 2:
            return next(iter(found), None)
        # The gradient by a denominator, ``-x / y / y``, divides as the loss ``x / y`` does.
        return min(found, key=lambda t: (t[0] > seed.index, self.wholes.least_doubt(seed.index, t)))

    def _is_explained(self, seed: Node, loss: Tensor) -> bool:
        """Whether no tensor that has nothing to do with a pass is more likely than this one."""
        return loss[0] < seed.index and self.wholes.least_doubt(seed.index, loss).is_explained

    def _add(self, seed: Seed) -> None:
        """Remembers what the backward pass of a seed takes or makes."""
        self._losses.add(seed.loss)
        self._judged.add(seed.loss[0])
        if seed.loss[0] < seed.node:
            fresh = self.flow.descendants([seed.node], without=self._passes)
            self._passes |= fresh
            self._made |= fresh
            self._made.update(source for i in fresh for source in self.flow.producers[i])

    def _is_made(self, index: int) -> bool:
        """Whether passes of earlier seeds take or make a node, but for their losses."""
        return index in self._made and index not in self._judged

    def _loss_candidates(self, shape: tuple[int | None, ...] | None, dtype: str) -> list[_Makers]:
        """What might be a loss of this spec, grouped by what its gradient looks like."""
        known = self._makers.get((shape, dtype))
        if known is None:
            groups: dict[Any, _Makers] = {}
            for node in self.flat.nodes:
                if node.index not in self.flow.of_weights or not node.data:
                    continue
                for output, candidate in enumerate(node.shapes):
                    loss = (node.index, output)
                    if candidate != shape or self.flat.dtype(loss) != dtype:
                        continue
                    if self.flat.through(loss) != loss:
                        continue
                    operands = [self.wholes.operand(tensor) for tensor in node.data]
                    if any(o.spec[1] in ("", "resource", "variant") for o in operands):
                        continue
                    key = VJP.key(node, output, operands)
                    groups.setdefault(key, _Makers(operands, output)).add(node)
            known = self._makers[shape, dtype] = list(groups.values())
        return known

    def _gradients(self, makers: _Makers, seed: Node) -> Iterator[tuple[int, dict[int, Tensor]]]:
        """Where the gradient of such an op, fed with `seed`, is in the graph.

        Yields the position of the input it is the gradient by, and the inputs it was found with.
        """
        example = self.flat.nodes[makers.nodes[0]]
        for position, reference in VJP.of(example, makers.output, makers.operands):
            if reference is None:
                continue
            for match in self.wholes.fed(reference, (seed.index, 0)):
                inputs = ((r, tensor) for r, tensor in match.leaves.items() if r != "upstream")
                yield position, {int(r.removeprefix("input ")): tensor for r, tensor in inputs}


class _Makers:
    """Ops that would all have the same gradient but for the tensors that they take."""

    def __init__(self, operands: list[Operand], output: int) -> None:
        self.operands, self.output = operands, output
        self.nodes: list[int] = []
        self._by_input: dict[tuple[int, Tensor], list[int]] = {}

    def add(self, node: Node) -> None:
        self.nodes.append(node.index)
        for position, tensor in enumerate(node.data):
            self._by_input.setdefault((position, tensor), []).append(node.index)

    def with_inputs(self, flat: FlatGraph, bound: dict[int, Tensor]) -> Iterator[Tensor]:
        """Those that take these inputs, latest first: a loss usually precedes its seed closely."""
        nodes = min(
            (self._by_input.get(entry, []) for entry in bound.items()),
            key=len,
            default=self.nodes,
        )
        for index in reversed(nodes):
            data = flat.nodes[index].data
            if all(data[position] == tensor for position, tensor in bound.items()):
                yield index, self.output
