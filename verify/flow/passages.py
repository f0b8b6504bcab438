"""What a gradient passes on its way from backpropagation to the write of its variable.

All tensors as large as the variable that the whole gradient comes through: what the tape made, what
was done to it afterwards, what entered the optimizer, and what that made of it. Where it is clipped
to a norm, say, other gradients decide the factor; but they come through a number, and not through a
tensor of that size.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Set

from verify.flow.gradient_flow import Flow, Update
from verify.flow.rows import are_rows
from verify.flow.seeds import REAL
from verify.flow.vectors import size_of, taken_from
from verify.graphs import Tensor

_ROOT = -1  # where all that has no source as large comes from


def ways(flow: Flow, updates: Iterable[Update]) -> Iterator[tuple[Update, tuple[Tensor, ...]]]:
    """What the gradient of each update passes; updates of which nothing is known are left out.

    Nothing is known where backpropagation ends in several tensors that are first added up in the
    write itself. Where it ends in rows that were looked up in the variable, the way begins with
    these: see `verify.flow.rows`.
    """
    starts = set[int]()
    earlier = _earlier(flow)
    every = [_Passages(flow, u, earlier.get(u.node.index, -1)) for u in updates]
    # By a common norm, numbers are reached from the gradients of all larger variables, and from
    # those of other numbers.
    every.sort(key=lambda one: one.size == 1)
    nearest: dict[int, set[int]] = {}
    for one in every:
        if one.size == 1 and not nearest:
            numbers = [other for other in every if other.size == 1]
            nearest = {id(other): other.nearest(starts) for other in numbers}
        theirs = set[int]().union(*(ends for key, ends in nearest.items() if key != id(one)))
        way = one.found(starts, theirs)
        if way:
            whole = taken_from(flow, way[0])
            way = way if whole is None else (whole, *way)
            starts.add(way[0][0])
            yield one.update, way


def _earlier(flow: Flow) -> dict[int, int]:
    """Per update of a variable, by node, the one before it."""
    found: dict[int, int] = {}
    for updates in flow.trained_of.values():
        nodes = sorted(update.node.index for update in updates)
        found |= dict(itertools.pairwise(reversed(nodes)))
    return found


class _Passages:
    """The tensors that all of an update's gradient comes through.

    `since`: the update of the variable before, -1 if there is none: what that one kept is no
    gradient of this one.
    """

    def __init__(self, flow: Flow, update: Update, since: int) -> None:
        self.flow, self.update, self.since = flow, update, since
        self.shape, self.size = update.variable.shape, size_of(update.variable.shape)
        self.in_rows = update.variable.key in flow.tables

    def nearest(self, others: Set[int]) -> set[int]:
        """Where the gradient of a number begins that is nearest to its write.

        `others`: where the gradients of larger variables begin.
        """
        edges, ends = self._large_ones
        own = ends - self.flow.descendants(others)
        return _nearest(edges, own, self.update.node.index)

    def found(self, others: Set[int], theirs: Set[int]) -> tuple[Tensor, ...]:
        """In the order of the way.

        `others`, `theirs`: where the gradients begin of larger variables, and of other numbers.
        """
        flow, update = self.flow, self.update
        if self.size is None:
            return ()
        edges, ends = self._large_ones
        within = ends & flow.propagated
        if self.in_rows and not within:  # rows may be moved, or joined, after values have entered
            within = {end for end in ends if not (flow.ancestors([end]) - {end}) & ends}
        if self.size == 1 and len(ends) > 1:
            own = ends - flow.descendants(others) - theirs
            ends = within = own | self.nearest(others)
        if within and ends != within:
            edges, ends = _every_one(flow, update, ends, within)
        import networkx as nx  # which takes long to import

        graph = nx.DiGraph(edges)
        graph.add_edges_from((_ROOT, end) for end in ends)
        above = nx.immediate_dominators(graph, _ROOT) if ends else {}
        found: list[Tensor] = []
        index = above.get(update.node.index, _ROOT)
        while index != _ROOT and not _is_repeated(flow, index, update):
            tensor = self._large(index)
            if tensor is not None:
                found.append(tensor)
            index = above[index]
        return (*reversed(found),)

    @functools.cached_property
    def _large_ones(self) -> tuple[list[tuple[int, int]], set[int]]:
        """How nodes as large depend on one another up from the write, and which come first."""
        flow, start = self.flow, self.update.node.index
        edges: list[tuple[int, int]] = []
        ends = set[int]()
        stack, seen = [start], {start}
        while stack:
            index = stack.pop()
            sources = [] if index in flow.propagated else self._sources(index)
            edges += [(source, index) for source in sources]
            if not sources and not self._is_kept(index):
                ends.add(index)
            for source in sources:
                if source not in seen:
                    seen.add(source)
                    stack.append(source)
        ends = {end for end in ends if not self._is_of_flags(end)} or ends
        if self.size == 1 and len(ends) > 1:
            # A norm of several numbers is as large as each, and made of where their gradients end.
            below = (flow.descendants([end], flow.multiplied) - {end} for end in ends)
            ends = ends.difference(*below) or ends
        return edges, ends

    def _is_of_flags(self, index: int) -> bool:
        """Whether a node takes of the backward pass what is no number: that all is finite, say.

        What chooses by that is as large as a single number, and no gradient of it.
        """
        flow = self.flow
        taken = [t for t in flow.flat.nodes[index].data if t[0] in flow.backward]
        real = any(flow.flat.dtype(tensor) in REAL for tensor in taken)
        return bool(taken) and not real and index not in flow.propagated

    def _sources(self, index: int) -> list[int]:
        """The parts of a backward pass that are as large, and that a node depends on at once."""
        return [
            source
            for source in dict.fromkeys(self.flow.producers[index])
            if source in self.flow.backward
            and source != index
            and not (source < self.since < index and self._writes(source))
            and (self._large(source) is not None or self._writes(source))
        ]

    def _is_kept(self, index: int) -> bool:
        """Whether a node reads what an update before has left."""
        sources = self.flow.producers[index]
        return any(source < self.since < index and self._writes(source) for source in sources)

    def _large(self, index: int) -> Tensor | None:
        """The first output of a node that is real and as large as the variable, or rows of it."""
        node = self.flow.flat.nodes[index]
        for output, (shape, dtype) in enumerate(zip(node.shapes, node.dtypes, strict=False)):
            if dtype not in REAL or shape is None:
                continue
            if size_of(shape) == self.size or (self.in_rows and are_rows(shape, self.shape)):
                return index, output
        return None

    def _writes(self, index: int) -> bool:
        """Whether a node writes a variable as large: what an optimizer keeps."""
        variable = self.flow.flat.variable(self.flow.flat.nodes[index])
        return variable is not None and size_of(variable.shape) == self.size


def _is_repeated(flow: Flow, index: int, update: Update) -> bool:
    """Whether a node is run in each turn of a loop that the update comes after."""
    path, own = flow.flat.nodes[index].path, update.node.path
    bodies = (guard.branches[0] for guard in flow.flat.loops(path))
    return any(own[: len(body)] != body for body in bodies)


def _nearest(edges: list[tuple[int, int]], ends: set[int], sink: int) -> set[int]:
    """The ends that are nearest to a write: others reach it by way of a norm."""
    import networkx as nx

    distance = nx.single_source_shortest_path_length(nx.DiGraph(edges).reverse(copy=False), sink)
    nearest = min((distance[end] for end in ends), default=0)
    return {end for end in ends if distance[end] == nearest}


def _every_one(
    flow: Flow, update: Update, ends: set[int], within: set[int]
) -> tuple[list[tuple[int, int]], set[int]]:
    """The same of nodes of any size that depend on what backpropagation ends in.

    What is made of means over rows, say, comes from there as well; what a regulariser adds does
    not.
    """
    above = flow.ancestors([update.node.index], without=flow.propagated - within)
    # Whether all of it is finite is asked, and decides; but it is no gradient.
    asked = flow.checks - within
    below = flow.descendants(within, without=flow.propagated - within | asked) & above
    ends = within | (ends - below)
    others = flow.descendants(ends - within, without=asked) & above
    nodes = (below | others) - (ends & flow.propagated)
    edges = [(source, index) for index in nodes for source in flow.producers[index]]
    kept = nodes | ends
    return [(a, b) for a, b in edges if a in kept and a != b], ends
