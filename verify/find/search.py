"""Where the gradient of a reference is in a step, and which updates it reaches.

Two questions decide everything here. Is the traced reference in the graph (`Matcher`)? And does
what it computes reach the update of a variable (`Flow`)?
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Collection, Iterable, Mapping, Set

import numpy as np

from verify.flow import Scaling, Update, flow_of
from verify.graphs import Region, Tensor, exclusive
from verify.match import Match, Miss, Pattern, Predicate
from verify.references import format_call
from verify.step import Step


@dataclasses.dataclass(frozen=True)
class Found:
    """A recognised gradient: its nodes, the variables it trains, and its constant weight.

    `weight` is the factor by which the backward pass multiplies it (None: not a constant).
    `upstream`: the node that carries that factor. `predicted`, `target`: what the loss is of;
    `activated`: the probabilities that it is of, where `predicted` are their logits.
    `made`: whether the step makes that target; `made_up`: the number that all of it is.
    `unscaled`: whether a loss scale that multiplied it divides the gradient again; `scale`: that
    scale, where it is a constant.
    """

    label: str
    nodes: frozenset[int]
    updates: tuple[Update, ...]
    weight: float | None
    upstream: int
    prediction: str = ""
    variable: int | str | None = None
    path: tuple[str, ...] = ()
    replicas: frozenset[int] = frozenset({0})
    predicted: Tensor | None = None
    target: Tensor | None = None
    activated: Tensor | None = None
    made: bool = False
    made_up: float | None = None
    unscaled: bool = False
    scale: float = 1.0

    def __add__(self, other: Found) -> Found:
        """Both as one: another replica's part, or the same in a branch taken instead."""
        weight = self.weight
        if not self.replicas >= other.replicas:
            both = (self.weight, other.weight)
            weight = None if None in both else sum(w for w in both if w is not None)
        return dataclasses.replace(
            self,
            nodes=self.nodes | other.nodes,
            updates=tuple(dict.fromkeys((*self.updates, *other.updates))),
            weight=weight,
            replicas=self.replicas | other.replicas,
        )

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted({update.variable.path for update in self.updates}))


class Disjoint:
    """Recognised gradients of which no two share a node."""

    def __init__(self) -> None:
        self.all: list[Found] = []
        self.nodes: set[int] = set()

    def fresh(self, found: Iterable[Found]) -> list[Found]:
        """Those that share no node with any here."""
        return [one for one in found if one.nodes.isdisjoint(self.nodes)]

    def add(self, found: Iterable[Found]) -> None:
        """Takes these, whatever they share with one another."""
        for one in found:
            self.nodes |= one.nodes
            self.all.append(one)


class Search:
    """Finds gradients in one step, or in one branch of it."""

    def __init__(self, step: Step, region: Region = ()) -> None:
        self.step, self.flat = step, step.flat
        self.flow = flow_of(step.flat, region, step.trainable)
        self.scaling = Scaling(self.flow)

    def is_upstream(self, tensor: Tensor) -> bool:
        return tensor[0] in self.flow.backward and tensor[0] not in self.of_data

    @functools.cached_property
    def of_data(self) -> set[int]:
        """What depends on data other than by a loss scale that a pass before has adapted."""
        scales = self.scaling.dynamic.keys()
        return self.flow.descendants(self.flow.data, scales) if scales else self.flow.of_data

    def find(
        self,
        pattern: Pattern,
        predicates: dict[str, Predicate],
        label: str = "",
        among: Collection[int] | None = None,
    ) -> tuple[list[Found], Miss | None]:
        """Matches of all summands of the pattern's root that reach an update.

        `among`: the nodes that may be a summand, all of the backward pass if left out.
        """
        first, *others = pattern.summands
        within = self.flow.backward
        matches, nearest = self.flow.matcher.find(
            pattern, first, predicates, within if among is None else among
        )
        found: list[Found] = []
        for match in matches:
            if match.root[0] not in within:
                continue
            whole = self._complete(pattern, match, others, predicates, among)
            if isinstance(whole, Miss):
                nearest = whole if nearest is None or whole.agreed > nearest.agreed else nearest
                continue
            roots, constants, leaves, present = whole
            updates = self.trained_by(roots)
            if updates:
                upstream = match.leaves["upstream"]
                prediction = leaves.get("prediction")
                judged = present or prediction
                weight = self.scaling.weight(upstream, updates)
                found.append(
                    Found(
                        label or (format_call("", constants) if constants else ""),
                        frozenset(roots),
                        updates,
                        weight,
                        upstream[0],
                        "" if judged is None else self.flat.node(judged).id,
                        path=self.flat.node(match.root).path,
                        replicas=self._replicas(match),
                        predicted=prediction,
                        target=leaves.get("target"),
                        activated=present,
                        unscaled=self.scaling.is_undone(upstream, weight),
                        scale=self._undone(upstream, weight),
                    )
                )
        return self._of_one_sum(found), nearest

    def _undone(self, upstream: Tensor, weight: float | None) -> float:
        """The constant loss scale that a gradient is multiplied by and divided by again."""
        value = self.flow.folder.value(upstream)
        return 1.0 if value is None or not weight else float(value.reshape(())) / weight

    def found(
        self,
        nodes: frozenset[int],
        prediction: Tensor,
        target: Tensor | None,
        factor: float,
        of_it: Set[int] = frozenset(),
    ) -> Found:
        """What has the values of a gradient, times a factor, at these nodes.

        `of_it`: the nodes that what it is differentiated by decides.
        """
        updates = self.trained_by(nodes)
        above = self.flow.ancestors(nodes)
        begun = (above & self.flow.backward) - of_it
        # The ones that a vector is differentiated with depend on the size of the batch.
        upstream = max((i for i in begun if self.is_upstream((i, 0))), default=min(begun))
        between = self.flow.ancestors(nodes, without={prediction[0]})
        scaled = any(
            node.index in between and not self.flow.is_trainable(variable)
            for node, variable in self.flat.reads()
        )
        weight = None if scaled else self.scaling.constant(plain_number(factor), upstream, updates)
        node = self.flat.node(prediction)
        forward = {*above, *self.flow.ancestors([node.index])} - self.flow.backward
        replicas = frozenset(v.replica for i, v in self.flat.variables.items() if i in forward)
        return Found(
            "",
            nodes,
            updates,
            weight,
            upstream,
            node.id,
            path=self.flat.nodes[max(nodes)].path,
            replicas=replicas or frozenset({0}),
            predicted=prediction,
            target=target,
            unscaled=weight is None or weight != plain_number(factor),
            scale=plain_number(factor) / weight if weight else 1.0,
        )

    def joined(self, found: list[Found]) -> list[Found]:
        """One gradient for the parts that replicas have in it, or branches of one choice."""
        if self.step.replicas == 1 and not self.flat.guards:
            return found
        groups: list[list[Found]] = []
        for one in found:
            for group in groups:
                if all(
                    one.replicas.isdisjoint(other.replicas)
                    or (exclusive(one.path, other.path) and one.weight == other.weight)
                    for other in group
                ):
                    group.append(one)
                    break
            else:
                groups.append([one])
        return [functools.reduce(operator.add, group) for group in groups]

    def trained_by(self, roots: Collection[int]) -> tuple[Update, ...]:
        """The updates that depend on any of these nodes."""
        below = set[int]().union(*(self.below(root) for root in roots))
        return tuple(self._updates[index] for index in sorted(below & self._updates.keys()))

    @functools.cached_property
    def _updates(self) -> dict[int, Update]:
        return {update.node.index: update for update in self.flow.trained}

    def below(self, index: int) -> set[int]:
        """All that depends on a node (included)."""
        return self.flow.below(index)

    def _replicas(self, match: Match) -> frozenset[int]:
        """Which replicas' variables a gradient is computed from."""
        if self.step.replicas == 1:
            return frozenset({0})
        forward = [tensor[0] for role, tensor in match.leaves.items() if role != "upstream"]
        forward += [index for index in match.nodes if index in self.flat.variables]
        above = self.flow.ancestors(forward, without=self.flow.backward)
        return frozenset(v.replica for i, v in self.flat.variables.items() if i in above)

    def _candidates(
        self,
        pattern: Pattern,
        root: Tensor,
        leaves: Mapping[str, Tensor],
        among: Collection[int] | None = None,
    ) -> list[Tensor]:
        """What a root may be, given what leaves stand for: something near one of them."""
        op = pattern.flat.node(pattern.flat.through(root)).op
        output = pattern.flat.through(root)[1]
        if among is not None:
            return [(i, output) for i in sorted(among) if self.flat.nodes[i].op == op]
        for role, leaf in leaves.items():
            hops = None if role == "upstream" else pattern.hops(role, root)
            if hops is not None and role not in pattern.many:
                near = sorted(self.flow.near([leaf[0]], hops))
                return [(index, output) for index in near if self.flat.nodes[index].op == op]
        return self.flow.matcher.candidates(pattern, root)

    def _of_one_sum(self, found: list[Found]) -> list[Found]:
        """Without gradients that take a part of one which is added up from its parts.

        A part may be the same constant in the gradients of several losses.
        """
        added = [one for one in found if len(one.nodes) > 1 and self._is_added(one.nodes)]
        return [
            one
            for one in found
            if one in added or all(one.nodes.isdisjoint(other.nodes) for other in added)
        ]

    def _is_added(self, nodes: Iterable[int]) -> bool:
        """Whether an op takes all of these nodes."""
        consumers = (set(self.flow.consumers[node]) for node in nodes)
        return bool(set.intersection(*consumers))

    def _complete(
        self,
        pattern: Pattern,
        match: Match,
        others: list[Tensor],
        predicates: dict[str, Predicate],
        among: Collection[int] | None,
    ) -> tuple[set[int], dict[str, float], dict[str, Tensor], Tensor | None] | Miss:
        """The other summands of a gradient, which share the leaves of the first.

        With its constants and leaves, and what has to be present besides.
        """
        matcher, within = self.flow.matcher, self.flow.backward
        roots, constants, leaves = {match.root[0]}, dict(match.constants), dict(match.leaves)
        for other in others:
            nearest = Miss(0, "a part of its gradient is missing", self.flat.node(match.root).id)
            for target in sorted(
                self._candidates(pattern, other, leaves, among),
                # Parts that would fit two gradients alike belong to the one that they are added to.
                key=lambda target: not self._is_added((match.root[0], target[0])),
            ):
                if target[0] not in within or target[0] in roots:
                    continue
                result = matcher.unify(pattern, other, target, predicates, leaves)
                if isinstance(result, Match):
                    roots.add(target[0])
                    leaves.update(result.leaves)
                    constants.update(result.constants)
                    break
                if result.agreed > nearest.agreed:
                    nearest = result
            else:
                return nearest
        present: Tensor | None = None
        for expected in pattern.present:
            results = (
                matcher.unify(pattern, expected, target, predicates, leaves)
                for target in self._candidates(pattern, expected, leaves)
            )
            present = next((one.root for one in results if isinstance(one, Match)), None)
            if present is None:
                place = self.flat.node(match.root).id
                return Miss(0, "the activation before the loss is missing", place)
        return roots, constants, leaves, present


def plain_number(factor: float) -> float:
    """The number that somebody wrote: rounding has made another one of it."""
    for digits in range(1, 7):
        for written in (float(f"{factor:.{digits}g}"), 1 / float(f"{1 / factor:.{digits}g}")):
            if np.isclose(written, factor, rtol=3e-6, atol=0):
                return written
    return factor
