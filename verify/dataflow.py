"""What depends on what: data, trainable variables, gradients; which updates a gradient reaches.

The one hard question is which nodes belong to the backward pass, since names and scopes prove
nothing. It starts at a seed: the constant one that a tape feeds in as the derivative of a loss by
itself. A constant one is a seed only if a consumer of it is, structurally, the gradient of the
very op that made some loss candidate (`VjpReferences` traces that gradient through TensorFlow's
own gradient functions). Everything that depends on a seed is backward pass or optimizer; a
variable is trained if the value written to it depends on one. Optimizers route gradients through
slot variables (Adam writes a moment, then reads it), so dependence also follows a write of a
non-trainable variable to a later read of it in the same branch, but never through a trainable one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from verify.fold import Folder
from verify.graph import FlatGraph, Node, Tensor, VariableRef
from verify.match import Match, Matcher, Pattern
from verify.reference import Operand, Spec, VjpReferences

_VJP = VjpReferences()
_SEED_DEPTH = 12  # how far below a seed the first gradient op's root may lie
_MAX_HOPS = 64  # ops that pass their upstream gradient unchanged, in a row


@dataclasses.dataclass(frozen=True)
class Update:
    """A write to a trainable variable."""

    node: Node
    variable: VariableRef


@dataclasses.dataclass(frozen=True)
class Seed:
    """A constant one that starts a backward pass, and the loss tensor it belongs to."""

    node: int
    loss: Tensor


class Flow:
    """Dataflow over one flat graph, or over one branch of it (`region`, a call path).

    `trainable` overrides which variables count as trainable (by key): what Keras trains can change
    after a variable was made.
    """

    def __init__(
        self,
        flat: FlatGraph,
        region: tuple[str, ...] = (),
        trainable: frozenset[int | str] | None = None,
    ) -> None:
        self.flat, self.region = flat, region
        self._trainable = trainable
        self.folder = Folder(flat)
        self.matcher = Matcher(flat, self.folder)

    def is_trainable(self, variable: VariableRef) -> bool:
        if self._trainable is not None:
            return variable.key in self._trainable
        return variable.trainable

    def inside(self, node: Node) -> bool:
        return node.path[: len(self.region)] == self.region

    @functools.cached_property
    def consumers(self) -> list[list[int]]:
        """Per node, the nodes that use its outputs or, for slot writes, read what it wrote."""
        consumers: list[list[int]] = [[] for _ in self.flat.nodes]
        for node in self.flat.nodes:
            for source, _ in node.data:
                consumers[source].append(node.index)
        for source, reader in self._state_edges():
            consumers[source].append(reader)
        return consumers

    def _state_edges(self) -> Iterable[tuple[int, int]]:
        writes: dict[int | str, list[Node]] = {}
        for node, variable in self.flat.writes():
            if not self.is_trainable(variable):
                writes.setdefault(variable.key, []).append(node)
        for node, variable in self.flat.reads():
            for write in writes.get(variable.key, ()):
                if write.index < node.index and _same_branch(write.path, node.path):
                    yield write.index, node.index

    def descendants(
        self, sources: Iterable[int], without: frozenset[int] = frozenset()
    ) -> set[int]:
        """All that depends on `sources` (included), on paths that avoid the nodes `without`."""
        reached: set[int] = set()
        stack = [source for source in sources if source not in without]
        while stack:
            index = stack.pop()
            if index in reached:
                continue
            reached.add(index)
            stack.extend(i for i in self.consumers[index] if i not in reached and i not in without)
        return reached

    def ancestors(self, sinks: Iterable[int]) -> set[int]:
        """All that `sinks` (included) depend on."""
        reached: set[int] = set()
        stack = list(sinks)
        while stack:
            index = stack.pop()
            if index not in reached:
                reached.add(index)
                stack.extend(self.producers[index])
        return reached

    @functools.cached_property
    def producers(self) -> list[list[int]]:
        producers: list[list[int]] = [[] for _ in self.flat.nodes]
        for source, users in enumerate(self.consumers):
            for user in users:
                producers[user].append(source)
        return producers

    @functools.cached_property
    def of_data(self) -> set[int]:
        """Nodes whose value depends on what the step is fed, or draws: random numbers are data."""
        fed = [i for i in self.flat.arguments if self.flat.nodes[i].dtypes[:1] != ["resource"]]
        drawn = [
            n.index
            for n in self.flat.nodes
            if n.op.startswith(("IteratorGetNext", "Random", "StatelessRandom"))
        ]
        return self.descendants([*fed, *drawn])

    @functools.cached_property
    def of_weights(self) -> set[int]:
        """Nodes whose value depends on a trainable variable."""
        return self.descendants(n.index for n, v in self.flat.reads() if self.is_trainable(v))

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
        found = []
        for node in self.flat.nodes:
            if self.inside(node) and self._is_one(node):
                loss = self._loss_of(node)
                if loss is not None:
                    found.append(Seed(node.index, loss))
        return found

    @functools.cached_property
    def backward(self) -> set[int]:
        """The backward pass and the optimizer: everything that depends on a seed."""
        return self.descendants(seed.node for seed in self.seeds)

    @functools.cached_property
    def trained(self) -> list[Update]:
        """The updates whose value depends on a gradient."""
        return [update for update in self.updates if update.node.index in self.backward]

    def reaches(self, index: int, updates: Iterable[Update]) -> list[Update]:
        below = self.descendants([index])
        return [update for update in updates if update.node.index in below]

    def spec(self, tensor: Tensor) -> Spec:
        return self.flat.shape(tensor), self.flat.dtype(tensor)

    def _is_one(self, node: Node) -> bool:
        if node.dtypes[:1] and node.dtypes[0] not in ("float16", "bfloat16", "float32", "float64"):
            return False
        if node.op == "Const":
            value = self.flat.constant((node.index, 0))
        elif node.op == "Fill":
            value = self.folder.value(node.data[1])
        else:
            return False
        return value is not None and value.size > 0 and bool(np.all(value == 1))

    def _loss_of(self, seed: Node) -> Tensor | None:
        """The tensor whose backward pass `seed` starts, if there is one."""
        shape = seed.shapes[0]
        near = self._near(seed.index)
        if not near:
            return None
        below = self.descendants([seed.index])
        # Latest first, and those before the seed first: a loss usually precedes its seed, but the
        # gradient of a loop makes TensorFlow write the loop, and what follows from it, anew.
        before, after = self.flat.nodes[: seed.index], self.flat.nodes[seed.index + 1 :]
        for node in (*reversed(before), *reversed(after)):
            if node.index not in self.of_weights or node.index in below:
                continue
            # A branch may go back through a forward pass that was made before it was chosen.
            if not (self.inside(node) or _same_branch(node.path, seed.path)):
                continue
            for output, candidate in enumerate(node.shapes):
                if candidate == shape and node.dtypes[output] == seed.dtypes[0]:
                    loss = (node.index, output)
                    if self.flat.through(loss) == loss and self._starts(seed, loss, near, 0):
                        return loss
        return None

    def _near(self, index: int) -> dict[str, list[int]]:
        """Nodes a few steps below `index`, by op."""
        near: dict[str, list[int]] = {}
        reached, frontier = {index}, [index]
        for _ in range(_SEED_DEPTH):
            frontier = [i for f in frontier for i in self.consumers[f] if i not in reached]
            reached.update(frontier)
        for i in reached - {index}:
            near.setdefault(self.flat.nodes[i].op, []).append(i)
        return near

    def _starts(self, seed: Node, loss: Tensor, near: dict[str, list[int]], hops: int) -> bool:
        """Whether the gradient of the op that made `loss`, fed with `seed`, is in the graph."""
        node = self.flat.node(loss)
        if not node.data or hops > _MAX_HOPS:
            return False
        operands = [self._operand(tensor) for tensor in node.data]
        if any(operand.spec[1] in ("", "resource", "variant") for operand in operands):
            return False
        bound = {f"input {i}": tensor for i, tensor in enumerate(node.data)}
        bound["upstream"] = (seed.index, 0)
        for position, reference in _VJP.of(node, loss[1], operands):
            if node.data[position][0] not in self.of_weights:
                continue
            if reference is None:
                if self._starts(seed, node.data[position], near, hops + 1):
                    return True
                continue
            if self._has_gradient(reference, bound, near):
                return True
        return False

    def _operand(self, tensor: Tensor) -> Operand:
        value = self.folder.value(tensor)
        return Operand(self.spec(tensor), None if value is None else value.tobytes())

    def _has_gradient(
        self, reference: Pattern, bound: dict[str, Tensor], near: dict[str, list[int]]
    ) -> bool:
        root = reference.roots[0]
        op = reference.flat.node(reference.flat.through(root)).op
        return any(
            isinstance(self.matcher.unify(reference, root, (i, root[1]), {}, bound), Match)
            for i in near.get(op, ())
        )


def _same_branch(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether one place lies within the other: never two branches of one op, nor of two ops."""
    outer, inner = ([site for site in path if not site.endswith("[f]")] for path in (a, b))
    shared = min(len(outer), len(inner))
    return outer[:shared] == inner[:shared]
