"""What depends on what in one flat graph: on data, on weights, on any other value.

Optimizers route gradients through slot variables (Adam writes a moment, then reads it), so
dependence also follows a write of a non-trainable variable to a later read of it in the same
branch, but never through a trainable one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence, Set

from verify.graphs import (
    FlatGraph,
    Folder,
    Node,
    Piece,
    Region,
    Spec,
    Tensor,
    VariableRef,
    draws,
    pieces,
    same_branch,
)
from verify.match import Matcher

SUMS = {"Add", "AddN", "AddV2", "Sub"}
_KEPT = 50_000  # nodes in all that depend on some: at least so many are remembered


class Sources:
    """Per node, the nodes that it takes outputs of: looked up, since nodes have them already."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes

    def __getitem__(self, index: int) -> list[int]:
        return [source for source, _ in self._nodes[index].data]


class Dependence:
    """Dependence in one flat graph, or in one branch of it (`region`, a call path).

    `trainable` overrides which variables count as trainable (by key): what Keras trains can change
    after a variable was made.
    """

    def __init__(
        self,
        flat: FlatGraph,
        region: Region = (),
        trainable: frozenset[int | str] | None = None,
    ) -> None:
        self.flat, self.region = flat, region
        self._trainable = trainable
        self.folder = Folder(flat)
        self.matcher = Matcher(flat, self.folder)
        self._known_below: dict[int, set[int]] = {}
        self._size_below = 0

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
    def consumers(self) -> list[tuple[int, ...]]:
        """Per node, the nodes that use its outputs or, for slot writes, read what it wrote."""
        consumers: list[list[int]] = [[] for _ in self.flat.nodes]
        packed = self.pieces
        for node in self.flat.nodes:
            for tensor in node.data:
                source = packed[tensor].tensor[0] if tensor in packed else tensor[0]
                consumers[source].append(node.index)
        for source, reader in self._state_edges():
            consumers[source].append(reader)
        return [tuple(some) for some in consumers]

    @property
    def sources(self) -> Sources:
        """Per node, the nodes that it takes outputs of; not those that wrote what it reads."""
        return Sources(self.flat.nodes)

    @functools.cached_property
    def users(self) -> list[tuple[int, ...]]:
        """Per node, the nodes that take its outputs; not those that read what it wrote."""
        users: list[list[int]] = [[] for _ in self.flat.nodes]
        for node in self.flat.nodes:
            for source, _ in node.data:
                users[source].append(node.index)
        # Of most nodes, these are all: one object for both.
        pairs = zip(self.consumers, map(tuple, users), strict=True)
        return [every if every == own else own for every, own in pairs]

    def _state_edges(self) -> Iterable[tuple[int, int]]:
        writes: dict[int | str, list[Node]] = {}
        for node, variable in self.flat.writes():
            if not self.is_trainable(variable):
                writes.setdefault(variable.key, []).append(node)
        for node, variable in self.flat.reads():
            for write in writes.get(variable.key, ()):
                if write.index < node.index and same_branch(write.path, node.path):
                    yield write.index, node.index

    def descendants(self, sources: Iterable[int], without: Set[int] = frozenset()) -> set[int]:
        """All that depends on `sources` (included), on paths that avoid the nodes `without`."""
        return reached(sources, self.consumers, without)

    def below(self, index: int) -> set[int]:
        """All that depends on a node (included), which is asked for often."""
        known = self._known_below.get(index)
        if known is None:
            known = self.descendants([index])
            self._size_below += len(known)
            if self._size_below > _KEPT + 2 * len(self.flat.nodes):
                self._known_below.clear()
                self._size_below = len(known)
            self._known_below[index] = known
        return known

    @functools.cached_property
    def used(self) -> set[int]:
        """What is written or returned, and what that is made of."""
        written = {node.index for node, _ in self.flat.writes()}
        return self.ancestors(written | {index for index, _ in self.flat.outputs})

    def after(self, tensors: Iterable[Tensor]) -> set[int]:
        """All that depends on any of these very tensors: not on the other outputs of their ops."""
        wanted = set(tensors)
        users = {user for index, _ in wanted for user in self.consumers[index]}
        return self.descendants(
            user for user in users if not wanted.isdisjoint(self.flat.nodes[user].data)
        )

    def ancestors(self, sinks: Iterable[int], without: Set[int] = frozenset()) -> set[int]:
        """All that `sinks` (included) depend on, on paths that avoid the nodes `without`."""
        return reached(sinks, self.producers, without)

    def near(self, sources: Iterable[int], hops: int) -> set[int]:
        """All that depends on `sources` (included) by at most so many ops."""
        reached = set(sources)
        frontier = list(reached)
        for _ in range(hops):
            frontier = [i for f in frontier for i in self.consumers[f] if i not in reached]
            reached.update(frontier)
        return reached

    def distances(self, source: int, hops: int) -> dict[int, int]:
        """By how many ops, of at most so many, what depends on a node lies behind it."""
        found, frontier = {source: 0}, [source]
        for distance in range(1, hops + 1):
            frontier = [i for f in frontier for i in self.consumers[f] if i not in found]
            found.update(dict.fromkeys(frontier, distance))
        del found[source]
        return found

    @functools.cached_property
    def producers(self) -> list[tuple[int, ...]]:
        producers: list[list[int]] = [[] for _ in self.flat.nodes]
        for source, users in enumerate(self.consumers):
            for user in users:
                producers[user].append(source)
        return [tuple(some) for some in producers]

    @functools.cached_property
    def data(self) -> list[int]:
        """Nodes that are what the step is fed, or draws: random numbers are data."""
        fed = [i for i in self.flat.arguments if self.flat.nodes[i].dtypes[:1] != ["resource"]]
        drawn = [
            n.index for n in self.flat.nodes if n.op.startswith("IteratorGetNext") or draws(n.op)
        ]
        return [*fed, *drawn]

    @functools.cached_property
    def of_data(self) -> set[int]:
        """Nodes whose value depends on data."""
        return self.descendants(self.data)

    @functools.cached_property
    def weights(self) -> dict[int, int | str]:
        """Nodes that read a trainable variable, with its key."""
        return {node.index: v.key for node, v in self.flat.reads() if self.is_trainable(v)}

    @functools.cached_property
    def of_weights(self) -> set[int]:
        """Nodes whose value depends on a trainable variable."""
        return self.descendants(self.weights)

    def spec(self, tensor: Tensor) -> Spec:
        return self.flat.spec(tensor)


def reached(
    starts: Iterable[int], edges: Sequence[Sequence[int]] | Sources, without: Set[int] = frozenset()
) -> set[int]:
    """All nodes that edges lead to from `starts` (included), on paths that avoid `without`."""
    found = {start for start in starts if start not in without}
    stack = list(found)
    while stack:
        for index in edges[stack.pop()]:
            if index not in found and index not in without:
                found.add(index)
                stack.append(index)
    return found
