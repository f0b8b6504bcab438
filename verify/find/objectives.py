"""Whether the gradients that update variables are those of a function, however that is written.

Structure is the fast way to say yes. Else both are evaluated.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping

from verify.find.gradient_values import GradientValues
from verify.find.objective_passes import Comparison, ObjectivePass
from verify.find.witnesses import Sides
from verify.flow import Update
from verify.graphs import READS, RESHAPES, Tensor
from verify.match import Match, NoValueError, Pattern
from verify.references import ObjectiveGradients


class Objectives:
    """Answers about one step, or one branch of it."""

    def __init__(self, gradients: GradientValues) -> None:
        self.gradients, self.flow, self.flat = gradients, gradients.flow, gradients.flat

    def compared(
        self, updates: Iterable[Update], reference: ObjectiveGradients
    ) -> dict[Update, Comparison]:
        """How the gradients of updates compare with those of a function that depends on them."""
        roles = {node: f"argument {i}" for i, node in enumerate(reference.flat.arguments)}
        pattern = Pattern(reference.flat, tuple(reference.gradients.values()), roles)
        found: dict[Update, Comparison] = {}
        left: list[Update] = []
        for update in updates:
            way = self.gradients.ways.get(update)
            if way is None:
                found[update] = Comparison(unknown=self.gradients.unseen(update))
                continue
            root = reference.gradients[update.variable.key]
            if any(self._is_alike(pattern, root, tensor) for tensor in self._moved(way)):
                found[update] = Comparison(1.0)
            else:
                left.append(update)
        for together in self._by_pass(left):
            found |= self._pass(together, reference).compared(together)
        return _told_apart(found)

    def sides(
        self, updates: Iterable[Update], reference: ObjectiveGradients, draw: int
    ) -> list[Sides]:
        """Both gradients of each update, on one draw.

        Raises:
            NoValueError: they can't be computed.
        """
        for update in (every := list(updates)):
            if update not in self.gradients.ways:
                raise NoValueError(self.gradients.unseen(update))
        handed = self.gradients.handed(draw)
        return [
            dataclasses.replace(sides, fed=handed)
            for together in self._by_pass(every)
            for sides in self._pass(together, reference).sides(together, draw).values()
        ]

    def decided_by(self, reference: ObjectiveGradients) -> frozenset[int | str]:
        """The keys of variables by which a function's gradient is another than zero in some draw.

        Raises:
            NoValueError: that can't be computed.
        """
        ends = {update: way[0] for update, way in self.gradients.ways.items()}
        return self._pass(ends, reference).decided_by()

    def _by_pass(self, updates: Iterable[Update]) -> list[dict[Update, Tensor]]:
        """Where backpropagation ends for each update; together those of one backward pass."""
        groups: dict[frozenset[int], dict[Update, Tensor]] = {}
        for update in updates:
            end = self.gradients.ways[update][0]
            seeds = frozenset(self.gradients.above([end[0]]) & self._seeds)
            groups.setdefault(seeds, {})[update] = end
        return list(groups.values())

    def compared_at(
        self, tensors: Mapping[Update, Tensor], reference: ObjectiveGradients
    ) -> dict[Update, Comparison]:
        """The same of other tensors on their way, such as what enters an optimizer."""
        return _told_apart(self._pass(tensors, reference).compared(tensors))

    def _pass(
        self, tensors: Mapping[Update, Tensor], reference: ObjectiveGradients
    ) -> ObjectivePass:
        """The backward pass that tensors are of."""
        above = self.gradients.above(node for node, _ in tensors.values())
        begins = min(above & self._seeds, default=0)
        return ObjectivePass(self.gradients, reference, above, begins)

    def _moved(self, way: tuple[Tensor, ...]) -> Iterator[Tensor]:
        """What backpropagation ends in, and the same in other shapes."""
        yield way[0]
        moved = itertools.takewhile(lambda t: self.flat.node(t).op in RESHAPES, way[1:])
        yield from moved

    @functools.cached_property
    def _seeds(self) -> frozenset[int]:
        return frozenset(seed.node for seed in self.flow.seeds)

    def _is_alike(self, pattern: Pattern, root: Tensor, gradient: Tensor) -> bool:
        """Whether structure shows that a gradient is that of the function, a root."""
        if root[0] in pattern.leaves:
            return False
        match = self.flow.matcher.unify(pattern, root, gradient, {}, self.gradients.fed)
        return isinstance(match, Match) and not self._is_written_between(match.nodes)

    def _is_written_between(self, nodes: Iterable[int]) -> bool:
        """Whether some of these nodes read a variable before a write, and others after it."""
        read: dict[int | str, list[int]] = {}
        for node in (self.flat.nodes[index] for index in nodes):
            if node.op in READS and (variable := self.flat.variable(node)) is not None:
                read.setdefault(variable.key, []).append(node.index)
        return any(
            variable.key in read and min(read[variable.key]) < node.index < max(read[variable.key])
            for node, variable in self.flat.writes()
        )


def _told_apart(found: dict[Update, Comparison]) -> dict[Update, Comparison]:
    """Comparisons that tell something: where all is zero, nothing is."""
    if found and all(one.zero for one in found.values()):
        return dict.fromkeys(found, Comparison(zero=True, unknown="all gradients are zero"))
    return found
