"""What is left of a step's gradients when the recognised ones are taken away.

Removing what was recognised and looking whether a seed still reaches an update tells whether
something unrecognized is left.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from verify.dataflow import Flow, Update


class Leftover:
    """Answers about one step, or one branch of it."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.flat = flow, flow.flat
        self._read_by: dict[int, frozenset[int | str]] = {}
        self._known: dict[frozenset[int], tuple[list[Update], list[Update]]] = {}

    def without(self, cut: frozenset[int]) -> tuple[list[Update], list[Update]]:
        """Updates that gradients reach past the nodes `cut`: (by way of data, of itself alone)."""
        if cut not in self._known:
            self._known[cut] = self._without(cut)
        return self._known[cut]

    def _without(self, cut: frozenset[int]) -> tuple[list[Update], list[Update]]:
        flow = self.flow
        cut |= flow.zeroed
        left = flow.descendants((seed.node for seed in flow.seeds), without=cut)
        fed = frozenset(left & self._fed)
        by_data = flow.descendants(fed, without=cut) & left
        data = [update for update in flow.trained if update.node.index in by_data]
        # What a regulariser adds is made of the variable itself and, on its way to the update, is
        # never multiplied with anything that data decide.
        starts: dict[int | str, set[int]] = {}
        for index in (left - by_data) & self._takes.keys():
            for source in self._takes[index]:
                for key in self._made_of(source):
                    starts.setdefault(key, set()).add(index)
        alone: list[Update] = []
        blocked = cut | fed
        for key, nodes in starts.items():
            mine = flow.trained_of.get(key, [])
            if mine:
                reached = flow.descendants(nodes, without=blocked)
                alone += [update for update in mine if update.node.index in reached]
        return data, sorted(alone, key=lambda update: update.node.index)

    @functools.cached_property
    def _takes(self) -> dict[int, list[int]]:
        """Where forward values enter the backward pass: by node of that, the values' nodes."""
        backward, nodes = self.flow.backward, self.flat.nodes
        return {
            index: sources
            for index in backward
            if (sources := [source for source, _ in nodes[index].data if source not in backward])
        }

    @functools.cached_property
    def _fed(self) -> set[int]:
        """Nodes of the backward pass that take a forward value which data decide."""
        of_data = self.flow.of_data
        return {index for index, sources in self._takes.items() if not of_data.isdisjoint(sources)}

    def _made_of(self, index: int) -> Iterable[int | str]:
        """Keys of the trainable variables that a forward value is computed from."""
        if index not in self._read_by:
            above = self.flow.ancestors([index])
            fewer, more = sorted((above, self._reads.keys()), key=len)
            self._read_by[index] = frozenset(self._reads[i] for i in fewer if i in more)
        return self._read_by[index]

    @functools.cached_property
    def _reads(self) -> dict[int, int | str]:
        return {
            node.index: variable.key
            for node, variable in self.flat.reads()
            if self.flow.is_trainable(variable)
        }
