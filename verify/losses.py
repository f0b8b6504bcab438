"""Which data losses have a gradient that reaches an update."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from verify.flat import Node, Tensor
from verify.match import Miss, Pattern, Predicate
from verify.reference import Itself, Spec, loss_patterns
from verify.search import Found, Search

# Ops that move or re-encode a target without computing with its values.
_MOVES = {"Cast", "ExpandDims", "GatherV2", "OneHot", "Reshape", "Squeeze", "StridedSlice"}
_CHAIN = 8  # how many unary ops back from where prediction and target meet


class Losses:
    """Finds expected losses in one step, or in one branch of it."""

    def __init__(self, search: Search) -> None:
        self.search, self.step = search, search.step
        self.flow, self.flat = search.flow, search.flat
        self._known: dict[Itself, tuple[list[Found], Miss | None]] = {}

    def of(self, loss: Any) -> tuple[list[Found], Miss | None]:
        """Where the gradient of `loss` reaches an update, and the nearest miss elsewhere."""
        reference = self.step.reference
        if isinstance(loss, str) and reference is not None:
            loss = reference.library.losses.get(loss)
        itself = Itself(loss)
        if itself not in self._known:
            self._known[itself] = self._search(loss)
        return self._known[itself]

    @property
    def found(self) -> list[Found]:
        """What has been found so far, by all that was looked for."""
        return [one for found, _ in self._known.values() for one in found]

    def _search(self, loss: Any) -> tuple[list[Found], Miss | None]:
        nearest: Miss | None = None
        for pattern in self._patterns(loss):
            found, miss = self.search.find(pattern, self._predicates)
            if miss is not None and (nearest is None or miss.agreed > nearest.agreed):
                nearest = miss
            if found:
                return self.search.joined(found), nearest
        return [], nearest

    def _patterns(self, loss: Any) -> Iterator[Pattern]:
        weights = sorted(self.step.weights or ())
        weight = self.flow.spec(weights[0]) if weights else None
        ops = self.flow.matcher.by_op
        for masked in (False, True) if self._masks else (False,):
            for target, prediction in self._meeting_specs:
                yield from loss_patterns(loss, target, prediction, weight, ops, masked)

    @functools.cached_property
    def _predicates(self) -> dict[str, Predicate]:
        flow = self.flow
        return {
            "prediction": lambda t: t[0] in flow.of_weights and t[0] not in flow.backward,
            "target": self._is_target,
            "sample weight": self._is_sample_weight,
            "mask": lambda t: t in self._masks,
            "upstream": self.search.is_upstream,
        }

    def _is_target(self, tensor: Tensor) -> bool:
        """Whether a tensor is the target a step is fed, as it is fed: smoothing is a loss's own."""
        if tensor[0] in self.flow.of_weights:
            return False
        if self.step.targets is None:
            return True
        while tensor not in self.step.targets and (node := self.flat.node(tensor)).op in _MOVES:
            if node.op == "StridedSlice" and not self._keeps_all(node):
                return False
            tensor = node.data[0]
        return tensor in self.step.targets

    def _keeps_all(self, slice_: Node) -> bool:
        """Whether a slice, of one column say, still has all examples of a batch."""
        before, after = self.flat.shape(slice_.data[0]), self.flat.shape((slice_.index, 0))
        if before and after and None not in before and None not in after:
            return before[0] == after[0]
        masks = ("begin_mask", "end_mask")
        return all(slice_.attrs[mask].i & 1 for mask in masks)

    def _is_sample_weight(self, tensor: Tensor) -> bool:
        weights = self.step.weights or ()
        return tensor in weights or tensor[0] in self._of_sample_weight

    @functools.cached_property
    def _masks(self) -> frozenset[Tensor]:
        """Which examples or steps of the batch count, as truth values that become numbers."""
        cast = (self.flat.nodes[index].data[0] for index in self.flow.matcher.by_op.get("Cast", ()))
        return frozenset(
            tensor
            for tensor in cast
            if self.flat.dtype(tensor) == "bool"
            and tensor[0] in self.flow.of_data
            and tensor[0] not in self.flow.of_weights
        )

    @functools.cached_property
    def _of_sample_weight(self) -> set[int]:
        return self.flow.after(self.step.weights or ())

    @functools.cached_property
    def _meeting_specs(self) -> list[tuple[Spec, Spec]]:
        """(target, prediction) specs, read off where data that is a target meets a prediction."""
        flow, found = self.flow, dict[tuple[Spec, Spec], None]()
        fed = self.step.targets
        of_targets = flow.of_data if fed is None else flow.after(fed)
        as_fed = fed or frozenset()
        fed_specs = list(dict.fromkeys(map(flow.spec, sorted(as_fed))))
        meetings = (flow.of_weights & of_targets) - flow.backward
        for node in (self.flat.nodes[index] for index in sorted(meetings)):
            targets = [
                t
                for t in node.data
                if (t[0] in of_targets or t in as_fed) and t[0] not in flow.of_weights
            ]
            predictions = [t for t in node.data if t[0] in flow.of_weights]
            for target in targets:
                chain = filter(self._is_target, self._chain(target))
                specs = dict.fromkeys([*fed_specs, *map(flow.spec, chain)])
                for prediction in predictions:
                    for p in self._chain(prediction):
                        found.update(dict.fromkeys((spec, flow.spec(p)) for spec in specs))
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
