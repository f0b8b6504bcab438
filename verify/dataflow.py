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
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from verify.flat import FlatGraph, Node, Tensor, VariableRef, draws
from verify.fold import Folder
from verify.match import Match, Matcher
from verify.packing import Piece, pieces
from verify.reference import Operand, Spec, VjpReferences

_VJP = VjpReferences()
_REAL = ("float16", "bfloat16", "float32", "float64")
_LINEAR = {"Mul", "Sub", "AddV2", "Add", "AddN", "Neg", "RealDiv", "Cast"}
_SEED_DEPTH = 12  # how far below a seed the first gradient op's root may lie


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
        self._makers: dict[Any, list[_Makers]] = {}

    def is_trainable(self, variable: VariableRef) -> bool:
        if self._trainable is not None:
            return variable.key in self._trainable
        return variable.trainable

    def inside(self, node: Node) -> bool:
        return node.path[: len(self.region)] == self.region

    @functools.cached_property
    def pieces(self) -> dict[Tensor, Piece]:
        """What tensors were before they were packed with others."""
        return pieces(self.flat, self.folder)

    @functools.cached_property
    def consumers(self) -> list[list[int]]:
        """Per node, the nodes that use its outputs or, for slot writes, read what it wrote."""
        consumers: list[list[int]] = [[] for _ in self.flat.nodes]
        packed = self.pieces
        for node in self.flat.nodes:
            for tensor in node.data:
                source = packed[tensor].tensor[0] if tensor in packed else tensor[0]
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
                if write.index < node.index and same_branch(write.path, node.path):
                    yield write.index, node.index

    def descendants(
        self, sources: Iterable[int], without: frozenset[int] | set[int] = frozenset()
    ) -> set[int]:
        """All that depends on `sources` (included), on paths that avoid the nodes `without`."""
        return _reached(sources, self.consumers, without)

    def after(self, tensors: Iterable[Tensor]) -> set[int]:
        """All that depends on any of these very tensors: not on the other outputs of their ops."""
        wanted = set(tensors)
        users = {user for index, _ in wanted for user in self.consumers[index]}
        return self.descendants(
            user for user in users if not wanted.isdisjoint(self.flat.nodes[user].data)
        )

    def ancestors(
        self, sinks: Iterable[int], without: frozenset[int] | set[int] = frozenset()
    ) -> set[int]:
        """All that `sinks` (included) depend on, on paths that avoid the nodes `without`."""
        return _reached(sinks, self.producers, without)

    def near(self, sources: Iterable[int], hops: int) -> set[int]:
        """All that depends on `sources` (included) by at most so many ops."""
        reached = set(sources)
        frontier = list(reached)
        for _ in range(hops):
            frontier = [i for f in frontier for i in self.consumers[f] if i not in reached]
            reached.update(frontier)
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
            n.index for n in self.flat.nodes if n.op.startswith("IteratorGetNext") or draws(n.op)
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
        constants = [i for op in ("Const", "Fill") for i in self.matcher.by_op.get(op, ())]
        for node in (self.flat.nodes[index] for index in sorted(constants)):
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
        """The updates that make a variable a share of itself: by no gradient, data or other one."""
        found = []
        for update in self.updates:
            if update.node.index in self.backward or update.node.index in self.of_data:
                continue
            above = self.ancestors([update.node.index])
            sources = {
                variable.key
                for node, variable in self.flat.reads()
                if node.index in above and self.is_trainable(variable)
            }
            if sources == {update.variable.key} and self._is_share(update, above):
                found.append(update)
        return found

    def _is_share(self, update: Update, above: set[int]) -> bool:
        """Whether a written value is the variable's own times something: by linear ops alone."""
        reads = [n.index for n, v in self.flat.reads() if v.key == update.variable.key]
        between = self.descendants(index for index in reads if index in above) & above
        between -= {update.node.index, *reads}
        return all(self.flat.nodes[index].op in _LINEAR for index in between)

    @functools.cached_property
    def scales(self) -> frozenset[int | str]:
        """Keys of the variables that multiply a loss before it is differentiated (a loss scale).

        They enter the backward pass before any value does that data or weights decide.
        """
        nodes, backward = self.flat.nodes, self.backward
        takes = {
            index: {source for source, _ in nodes[index].data} - backward for index in backward
        }
        entered = self.descendants(
            index
            for index, sources in takes.items()
            if not (sources.isdisjoint(self.of_data) and sources.isdisjoint(self.of_weights))
        )
        before = [source for index in backward - entered for source in takes[index]]
        above = self.ancestors(before)
        return frozenset(v.key for node, v in self.flat.reads() if node.index in above)

    def reaches(self, index: int, updates: Iterable[Update]) -> list[Update]:
        below = self.descendants([index])
        return [update for update in updates if update.node.index in below]

    def spec(self, tensor: Tensor) -> Spec:
        return self.flat.shape(tensor), self.flat.dtype(tensor)

    def _is_one(self, node: Node) -> bool:
        if node.dtypes[:1] and node.dtypes[0] not in _REAL:
            return False
        if node.op == "Const":
            value = self.flat.constant((node.index, 0))
        else:
            value = self.folder.value(node.data[1])
        return value is not None and value.size > 0 and bool(np.all(value == 1))

    def _loss_of(self, seed: Node) -> Tensor | None:
        """The tensor whose backward pass `seed` starts, if there is one.

        Where an op hands its upstream gradient on unchanged (a sum of losses), that is the tensor
        behind it.
        """
        near: dict[str, list[int]] = {}
        for index in self.near([seed.index], _SEED_DEPTH) - {seed.index}:
            near.setdefault(self.flat.nodes[index].op, []).append(index)
        if not near:
            return None
        below: set[int] | None = None
        start = (seed.index, 0)
        for makers in self._loss_candidates(self.flat.shape(start), self.flat.dtype(start)):
            for position, bound in self._gradients(makers, seed, near):
                # What is written after the seed is part of a gradient, be it computed alike.
                alike = makers.with_inputs(self.flat, bound)
                for loss in sorted(alike, key=lambda tensor: tensor[0] > seed.index):
                    node = self.flat.node(loss)
                    # A branch may go back through a forward pass made before it was chosen.
                    if not (self.inside(node) or same_branch(node.path, seed.path)):
                        continue
                    if exclusive(node.path, seed.path):
                        continue
                    if node.data[position][0] not in self.of_weights:
                        continue
                    if below is None:
                        below = self.descendants([seed.index])
                    if node.index not in below:
                        return loss
        return None

    def _loss_candidates(self, shape: tuple[int | None, ...] | None, dtype: str) -> list[_Makers]:
        """What might be a loss of this spec, grouped by what its gradient looks like."""
        known = self._makers.get((shape, dtype))
        if known is None:
            groups: dict[Any, _Makers] = {}
            for node in self.flat.nodes:
                if node.index not in self.of_weights or not node.data:
                    continue
                for output, candidate in enumerate(node.shapes):
                    loss = (node.index, output)
                    if candidate != shape or self.flat.dtype(loss) != dtype:
                        continue
                    if self.flat.through(loss) != loss:
                        continue
                    operands = [self._operand(tensor) for tensor in node.data]
                    if any(o.spec[1] in ("", "resource", "variant") for o in operands):
                        continue
                    key = _VJP.key(node, output, operands)
                    groups.setdefault(key, _Makers(operands, output)).add(node)
            known = self._makers[shape, dtype] = list(groups.values())
        return known

    def _gradients(
        self, makers: _Makers, seed: Node, near: dict[str, list[int]]
    ) -> Iterator[tuple[int, dict[int, Tensor]]]:
        """Where the gradient of such an op, fed with `seed`, is in the graph.

        Yields the position of the input it is the gradient by, and the inputs it was found with.
        """
        example = self.flat.nodes[makers.nodes[0]]
        for position, reference in _VJP.of(example, makers.output, makers.operands):
            if reference is None:
                continue
            root = reference.roots[0]
            op = reference.flat.node(reference.flat.through(root)).op
            for index in near.get(op, ()):
                result = self.matcher.unify(
                    reference, root, (index, root[1]), {}, {"upstream": (seed.index, 0)}
                )
                if isinstance(result, Match):
                    yield (
                        position,
                        {
                            int(role.removeprefix("input ")): tensor
                            for role, tensor in result.leaves.items()
                            if role != "upstream"
                        },
                    )

    def _operand(self, tensor: Tensor) -> Operand:
        value = self.folder.value(tensor)
        return Operand(self.spec(tensor), None if value is None else value.tobytes())


def differentiated(flat: FlatGraph) -> frozenset[int | str]:
    """Keys of the variables that a differentiated loss is computed from.

    Where a graph does not say what is trainable, these are what can be.
    """
    real = {v.key for v in flat.variables.values() if v.dtype in _REAL}
    flow = Flow(flat, trainable=frozenset(real))
    losses = flow.ancestors(seed.loss[0] for seed in flow.seeds)
    return frozenset(v.key for node, v in flat.reads() if node.index in losses and v.key in real)


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


def _reached(
    starts: Iterable[int], edges: list[list[int]], without: frozenset[int] | set[int]
) -> set[int]:
    reached = {start for start in starts if start not in without}
    stack = list(reached)
    while stack:
        for index in edges[stack.pop()]:
            if index not in reached and index not in without:
                reached.add(index)
                stack.append(index)
    return reached


def same_branch(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether one place lies within the other: never two branches of one op, nor of two ops."""
    outer, inner = ([site for site in path if not site.endswith("[f]")] for path in (a, b))
    shared = min(len(outer), len(inner))
    return outer[:shared] == inner[:shared]


def exclusive(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether two places lie in different branches of one op, of which only one is taken."""
    for one, other in zip(a, b, strict=False):
        if one != other:
            (op, _, label), (same, _, another) = one.rpartition("["), other.rpartition("[")
            return op == same and label != another and label not in ("cond]", "body]")
    return False
