"""A pattern: a traced reference as what is looked for in a graph, with roles for its arguments."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

from verify.graphs import FlatGraph, Folder, Tensor

Predicate = Callable[[Tensor], bool]
"""Whether a tensor of a graph may stand for a role."""


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A reference: its flat graph, the roots to find, and what its arguments stand for.

    `leaves` names the role of each argument node; `free` marks constants that may differ (the
    parameters of a family, e.g. the factor of an L2 regulariser), by node index -> name. Roles in
    `many` may stand for several tensors (a variable is read anew for each use). What `present`
    computes must be in the graph too.
    """

    flat: FlatGraph
    roots: tuple[Tensor, ...]
    leaves: Mapping[int, str]
    free: Mapping[int, str] = dataclasses.field(default_factory=dict)
    many: frozenset[str] = frozenset({"variable", "data"})
    present: tuple[Tensor, ...] = ()

    @functools.cached_property
    def folder(self) -> Folder:
        return Folder(self.flat)

    @functools.cached_property
    def summands(self) -> tuple[Tensor, ...]:
        """The first root's: where gradients meet, TensorFlow adds all contributions in one op."""
        flat, summands = self.flat, []
        stack = [flat.through(self.roots[0])]
        while stack:
            tensor = stack.pop()
            node = flat.node(tensor)
            if node.op == "AddN":
                stack.extend(reversed(node.data))
            elif tensor[0] not in self.leaves:
                summands.append(tensor)
        return tuple(summands)

    def hops(self, role: str, root: Tensor) -> int | None:
        """How many ops lie, at least, between a leaf of this role and a root, with it.

        None if that root takes no such leaf.
        """
        frontier, hops, seen = {self.flat.through(root)[0]}, 0, set[int]()
        while frontier:
            if any(self.leaves.get(index) == role for index in frontier):
                return hops
            seen |= frontier
            sources = {source for i in frontier for source, _ in self.flat.nodes[i].data}
            frontier, hops = sources - seen, hops + 1
        return None

    def inputs(self, root: Tensor) -> tuple[str | None, ...]:
        """What the op of a root takes, as op types; None for leaves and what constants decide."""
        if root not in self._inputs:
            node = self.flat.node(self.flat.through(root))
            self._inputs[root] = tuple(self._definite(tensor) for tensor in node.data)
        return self._inputs[root]

    @functools.cached_property
    def _inputs(self) -> dict[Tensor, tuple[str | None, ...]]:
        return {}

    def _definite(self, tensor: Tensor) -> str | None:
        if tensor[0] in self.leaves or self.folder.value(tensor) is not None:
            return None
        return self.flat.node(tensor).op

    @functools.cached_property
    def ops(self) -> frozenset[str]:
        """The op types that only a match can have: neither leaves nor what constants decide."""
        nodes, stack, seen = self.flat.nodes, [root[0] for root in self.roots], set[int]()
        while stack:
            index = stack.pop()
            if index in seen or index in self.leaves or self.folder.value((index, 0)) is not None:
                continue
            seen.add(index)
            stack.extend(source for source, _ in nodes[index].data)
        return frozenset(nodes[index].op for index in seen)
