"""Detectors: which losses, regularisation terms and clips reach which updates.

All three decide by the same two questions. Is the traced reference in the graph (`Matcher`)? And
does what it computes reach the update of a variable, or even lie on *every* path from a backward
pass's seed to that update (`Flow`)? Removing what was recognised and looking whether a seed still
reaches an update tells whether something unrecognised is left.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any

from verify.capture import Region, Step
from verify.clips import Clip, Clips
from verify.dataflow import Flow, Update
from verify.graph import Tensor
from verify.match import Match, Miss, Pattern, Predicate
from verify.reference import (
    FAMILIES,
    Spec,
    format_call,
    loss_patterns,
    regulariser_family,
)

# Ops that move or re-encode a target without computing with its values.
_MOVES = {"Cast", "ExpandDims", "GatherV2", "OneHot", "Reshape", "Squeeze", "StridedSlice"}
_CHAIN = 8  # how many unary ops back from where prediction and target meet


@dataclasses.dataclass(frozen=True)
class Found:
    """A recognised gradient: its nodes, the variables it trains, and its constant weight.

    `weight` is the factor by which the backward pass multiplies it (None: not a constant).
    """

    label: str
    nodes: frozenset[int]
    updates: tuple[Update, ...]
    weight: float | None
    prediction: str = ""
    variable: int | str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted({update.variable.path for update in self.updates}))


class Detector:
    """Answers about one step, or one branch of it."""

    def __init__(self, step: Step, region: Region = ()) -> None:
        self.step, self.flat = step, step.flat
        self.flow = Flow(step.flat, region, step.trainable)
        self._known_below: dict[int, set[int]] = {}
        self._known_values: dict[int | str, set[int]] = {}

    # -- losses -------------------------------------------------------------------------------

    def losses(self, loss: Any) -> tuple[list[Found], Miss | None]:
        """Where the gradient of `loss` reaches an update, and the nearest miss elsewhere."""
        nearest: Miss | None = None
        for pattern in self._loss_patterns(loss):
            found, miss = self._find(pattern, self._loss_predicates())
            if miss is not None and (nearest is None or miss.agreed > nearest.agreed):
                nearest = miss
            if found:
                return found, nearest
        return [], nearest

    def _loss_patterns(self, loss: Any) -> Iterator[Pattern]:
        weights = sorted(self.step.weights or ())
        weight = self.flow.spec((weights[0], 0)) if weights else None
        for target, prediction in self._meeting_specs:
            yield from loss_patterns(loss, target, prediction, weight)

    def _loss_predicates(self) -> dict[str, Predicate]:
        flow = self.flow
        return {
            "prediction": lambda t: t[0] in flow.of_weights and t[0] not in flow.backward,
            "target": self._is_target,
            "sample weight": lambda t: t[0] in self._of_sample_weight,
            "upstream": self._is_upstream,
        }

    def _is_target(self, tensor: Tensor) -> bool:
        """Whether a tensor is the target a step is fed, as it is fed: smoothing is a loss's own."""
        if tensor[0] in self.flow.of_weights:
            return False
        if self.step.targets is None:
            return True
        while (node := self.flat.node(tensor)).op in _MOVES:
            tensor = node.data[0]
        return tensor[0] in self.step.targets

    def _is_upstream(self, tensor: Tensor) -> bool:
        return tensor[0] in self.flow.backward and tensor[0] not in self.flow.of_data

    @functools.cached_property
    def _of_sample_weight(self) -> set[int]:
        return self.flow.descendants(self.step.weights or ())

    @functools.cached_property
    def _meeting_specs(self) -> list[tuple[Spec, Spec]]:
        """(target, prediction) specs, read off where data that is a target meets a prediction."""
        flow, found = self.flow, dict[tuple[Spec, Spec], None]()
        fed = self.step.targets
        of_targets = flow.of_data if fed is None else flow.descendants(fed)
        as_fed = [(index, 0) for index in sorted(fed or ())]
        for node in self.flat.nodes:
            if node.index in flow.backward or node.index not in flow.of_weights:
                continue
            targets = [t for t in node.data if t[0] in of_targets and t[0] not in flow.of_weights]
            predictions = [t for t in node.data if t[0] in flow.of_weights]
            for target in targets:
                for prediction in predictions:
                    for t in [*as_fed, *filter(self._is_target, self._chain(target))]:
                        for p in self._chain(prediction):
                            found[self.flow.spec(t), self.flow.spec(p)] = None
        usable = [pair for pair in found if all(shape is not None for shape, _ in pair)]
        return [pair for pair in usable if pair[1][1].startswith(("float", "bfloat"))]

    def _chain(self, tensor: Tensor) -> Iterator[Tensor]:
        """`tensor` and what it was made of by ops with one input that matters."""
        flow = self.flow
        for _ in range(_CHAIN):
            yield tensor
            node = self.flat.node(tensor)
            live = [t for t in node.data if t[0] in flow.of_data or t[0] in flow.of_weights]
            if len(live) != 1:
                return
            tensor = live[0]

    # -- regularisation -----------------------------------------------------------------------

    @functools.cached_property
    def terms(self) -> list[Found]:
        """Recognised regularisation terms, one per variable and regulariser."""
        found: list[Found] = []
        taken: set[int] = set()
        reference = self.step.reference
        for term in () if reference is None else reference.terms:
            for match in self._find(term.pattern, self._term_predicates(term.key), term.label)[0]:
                if not match.nodes & taken:
                    taken |= match.nodes
                    found.append(dataclasses.replace(match, variable=term.key))
        for update in self.flow.trained:
            for name in FAMILIES:
                for match in self.regulariser(update, regulariser_family(name, _value(update)))[0]:
                    if not match.nodes & taken:
                        taken |= match.nodes
                        found.append(dataclasses.replace(match, label=name + match.label))
        return found

    def regulariser(
        self, update: Update, pattern: Pattern | None
    ) -> tuple[list[Found], Miss | None]:
        """Where the gradient of one regulariser by the updated variable reaches that update."""
        if pattern is None:
            return [], None
        found, miss = self._find(pattern, self._term_predicates(update.variable.key))
        mine = [
            dataclasses.replace(match, variable=update.variable.key)
            for match in found
            if any(u.variable.key == update.variable.key for u in match.updates)
        ]
        return mine, miss

    def _term_predicates(self, key: int | str) -> dict[str, Predicate]:
        def is_value(tensor: Tensor) -> bool:
            node = self.flat.node(tensor)
            if node.op == "Cast" and node.data:  # mixed precision reads through a cast
                node = self.flat.node(node.data[0])
            variable = self.flat.variable(node)
            return variable is not None and variable.key == key

        return {
            "variable": is_value,
            "data": lambda t: t[0] in self.flow.of_data,
            "upstream": self._is_upstream,
        }

    # -- what is left ---------------------------------------------------------------------------

    def rest(self, recognised: Iterable[Found]) -> tuple[list[Update], list[Update]]:
        """Updates that unrecognised gradients reach: (by way of data, of the variable alone)."""
        cut = frozenset(node for found in recognised for node in found.nodes)
        flow = self.flow
        left = flow.descendants((seed.node for seed in flow.seeds), without=cut)
        fed = frozenset(index for index in left if self._forward_inputs(index) & flow.of_data)
        by_data = flow.descendants(fed, without=cut) & left
        data = [update for update in flow.trained if update.node.index in by_data]
        # What a regulariser adds is made of the variable itself and, on its way to the update, is
        # never multiplied with anything that data decide.
        alone = [
            update
            for update in flow.trained
            if update.node.index
            in flow.descendants(
                self._made_of(update.variable.key, left - by_data), without=cut | fed
            )
        ]
        return data, alone

    def _forward_inputs(self, index: int) -> set[int]:
        """Where forward values enter the backward pass at a node."""
        return {s for s, _ in self.flat.nodes[index].data if s not in self.flow.backward}

    def _made_of(self, key: int | str, among: set[int]) -> list[int]:
        values = self._values_of(key)
        return [index for index in among if self._forward_inputs(index) & values]

    def _values_of(self, key: int | str) -> set[int]:
        """Everything computed from one variable."""
        if key not in self._known_values:
            reads = [node.index for node, v in self.flat.reads() if v.key == key]
            self._known_values[key] = self.flow.descendants(reads)
        return self._known_values[key]

    # -- clips ----------------------------------------------------------------------------------

    def clips(self, update: Update) -> list[Clip]:
        """Clips on the gradient of one update, before the optimizer."""
        return self._clips.of(update)

    @functools.cached_property
    def _clips(self) -> Clips:
        return Clips(self.flow)

    # -- shared ---------------------------------------------------------------------------------

    def _find(
        self, pattern: Pattern, predicates: dict[str, Predicate], label: str = ""
    ) -> tuple[list[Found], Miss | None]:
        """Matches of all summands of the pattern's root that reach an update."""
        first, *others = _summands(pattern)
        within = frozenset(self.flow.backward)
        matches, nearest = self.flow.matcher.find(pattern, first, predicates, within)
        found: list[Found] = []
        for match in matches:
            whole = self._complete(pattern, match, others, predicates, within)
            if isinstance(whole, Miss):
                nearest = whole if nearest is None or whole.agreed > nearest.agreed else nearest
                continue
            roots, constants = whole
            updates = tuple(update for update in self.flow.trained if self._reached(roots, update))
            if updates:
                weight = self.flow.folder.value(match.leaves["upstream"])
                prediction = match.leaves.get("prediction")
                found.append(
                    Found(
                        label or (format_call("", constants) if constants else ""),
                        frozenset(roots),
                        updates,
                        None if weight is None or weight.size != 1 else float(weight.reshape(())),
                        "" if prediction is None else self.flat.node(prediction).id,
                    )
                )
        return found, nearest

    def _reached(self, roots: set[int], update: Update) -> bool:
        return any(update.node.index in self._below(root) for root in roots)

    def _below(self, index: int) -> set[int]:
        if index not in self._known_below:
            self._known_below[index] = self.flow.descendants([index])
        return self._known_below[index]

    def _meet(self, a: int, b: int) -> bool:
        """Whether two nodes have a consumer in common."""
        consumers = self.flow.consumers
        return not set(consumers[a]).isdisjoint(consumers[b])

    def _complete(
        self,
        pattern: Pattern,
        match: Match,
        others: list[Tensor],
        predicates: dict[str, Predicate],
        within: frozenset[int],
    ) -> tuple[set[int], dict[str, float]] | Miss:
        """The other summands of a gradient, which share the leaves of the first."""
        roots, constants, leaves = {match.root[0]}, dict(match.constants), dict(match.leaves)
        for other in others:
            nearest = Miss(0, "a part of its gradient is missing", self.flat.node(match.root).id)
            for target in sorted(
                self.flow.matcher.candidates(pattern, other),
                # Parts that would fit two gradients alike belong to the one that they are added to.
                key=lambda target: not self._meet(match.root[0], target[0]),
            ):
                if target[0] not in within or target[0] in roots:
                    continue
                result = self.flow.matcher.unify(pattern, other, target, predicates, leaves)
                if isinstance(result, Match):
                    roots.add(target[0])
                    leaves.update(result.leaves)
                    constants.update(result.constants)
                    break
                if result.agreed > nearest.agreed:
                    nearest = result
            else:
                return nearest
        for expected in pattern.present:
            results = [
                self.flow.matcher.unify(pattern, expected, target, predicates, leaves)
                for target in self.flow.matcher.candidates(pattern, expected)
            ]
            if not any(isinstance(result, Match) for result in results):
                place = self.flat.node(match.root).id
                return Miss(0, "the activation before the loss is missing", place)
        return roots, constants


def _summands(pattern: Pattern) -> list[Tensor]:
    """The root's summands: where gradients meet, TensorFlow adds all contributions in one op."""
    flat, summands = pattern.flat, []
    stack = [flat.through(pattern.roots[0])]
    while stack:
        tensor = stack.pop()
        node = flat.node(tensor)
        if node.op == "AddN":
            stack.extend(reversed(node.data))
        elif tensor[0] not in pattern.leaves:
            summands.append(tensor)
    return summands


def _value(update: Update) -> Spec:
    return update.variable.shape, update.variable.dtype
