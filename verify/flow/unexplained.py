"""What is left of a step's gradients when the recognised ones are taken away.

Removing what was recognised and looking whether a seed still reaches an update tells whether
something that was not recognised is left.
"""

from __future__ import annotations

from collections.abc import Iterable

from verify.flow.gradient_flow import Flow, Update


class Unexplained:
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
        fed = frozenset(left & flow.entries)
        by_data = flow.descendants(fed, without=cut) & left
        data = [update for update in flow.trained if update.node.index in by_data]
        # What a regulariser adds is made of the variable itself and, on its way to the update, is
        # never multiplied with anything that data decide.
        starts: dict[int | str, set[int]] = {}
        for index in (left - by_data) & flow.takes.keys():
            for source in flow.takes[index]:
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

    def _made_of(self, index: int) -> Iterable[int | str]:
        """Keys of the trainable variables that a forward value is computed from."""
        if index not in self._read_by:
            above, reads = self.flow.ancestors([index]), self.flow.weights
            fewer, more = sorted((above, reads.keys()), key=len)
            self._read_by[index] = frozenset(reads[i] for i in fewer if i in more)
        return self._read_by[index]
