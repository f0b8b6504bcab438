"""Which data losses have a gradient that reaches an update."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

from verify.find.loss_places import Places, activations, alike, may_label
from verify.find.losses_by_value import LossesByValue
from verify.find.outputs import Outputs
from verify.find.search import Found, Search
from verify.find.witnesses import Sides
from verify.graphs import IFS, RESHAPES, Node, Spec, Tensor, VariableRef
from verify.match import Miss, Pattern, Predicate
from verify.references import LossKey, is_of_keras, loss_patterns, takes_activated

# Ops that move or re-encode a target without computing with its values.
MOVES = {"Cast", "ExpandDims", "GatherV2", "OneHot", "Reshape", "Squeeze", "StridedSlice"}
# Ops that take rows or columns of it, or put them in another order.
_LOOK_UP = {"GatherNd", "GatherV2"}  # what comes first, by what comes after
_REARRANGES = {
    *("ConcatV2", "GatherNd", "Pack", "RandomShuffle", "ReverseV2", "Roll", "Slice", "Split"),
    *("SplitV", "Tile", "Transpose", "Unpack"),
    # As loops take them.
    *("TensorListFromTensor", "TensorListGetItem", "TensorListGather", "TensorListStack"),
    *("TensorListReserve", "TensorListSetItem", "While", "StatelessWhile"),
}
# Ops whose result is decided by the shape of what they take.
_SHAPES = {"OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike"}
_TAKE_MASKS = ("Cast", "Where", "Select", "SelectV2")  # as their first input
_FIRST = 8  # forms of a loss that are looked for before its values are: Keras' own are among them
_CHAIN = 8  # how many unary ops back from where prediction and target meet


class Losses:
    """Finds expected losses in one step, or in one branch of it.

    `rest` tells whether gradients of data are left when those that were found are taken away.
    """

    def __init__(self, search: Search, rest: Callable[[list[Found]], bool]) -> None:
        self.search, self.step, self.rest = search, search.step, rest
        self.flow, self.flat = search.flow, search.flat
        self._known: dict[LossKey, tuple[list[Found], Miss | None]] = {}

    def of(self, loss: Any) -> tuple[list[Found], Miss | None]:
        """Where the gradient of `loss` reaches an update, and the nearest miss elsewhere."""
        reference = self.step.reference
        if isinstance(loss, str) and reference is not None:
            loss = reference.library.losses.get(loss)
        key = LossKey(loss)
        if key not in self._known:
            self._known[key] = self._search(loss)
        return self._known[key]

    @property
    def found(self) -> list[Found]:
        """What has been found so far, by all that was looked for."""
        return [one for found, _ in self._known.values() for one in found]

    def _search(self, loss: Any) -> tuple[list[Found], Miss | None]:
        every: list[Found] = []
        plain = self._patterns(loss, masked=False)
        nearest = [self._matched(loss, itertools.islice(plain, _FIRST), every)]
        if self._is_left(every):
            nearest += self._searched(loss, plain, every)
        found = self.search.joined(every)
        if getattr(loss, "reduction", None) == "sum":
            # Each replica's sum is a part of the whole one, not a share of a mean.
            found = [_times(one, 1 / len(one.replicas)) for one in found]
        else:  # other workers have their shares of the mean
            found = [_times(one, self.step.workers) for one in found]
        misses = [miss for miss in nearest if miss is not None]
        return found, max(misses, key=lambda miss: miss.agreed, default=None)

    def _searched(
        self, loss: Any, plain: Iterable[Pattern], every: list[Found]
    ) -> Iterator[Miss | None]:
        """Adds what is left of a loss, by values and by the other structures that it may have."""
        by_keras = is_of_keras(loss)
        if by_keras:
            self._add_by_value(loss, every)
        # Where values can tell, no other form of a loss need be traced.
        settled = by_keras and self._by_value.settles(loss)
        if not settled:
            yield self._matched(loss, plain, every)
        # A mask leaves out rows.
        may_be_masked = self._masks and self._is_left(every)
        if may_be_masked and (not settled or self._may_be(loss, by_row=True)):
            yield self._matched(loss, self._patterns(loss, masked=True), every)
        if not by_keras and self._is_left(every):
            self._add_by_value(loss, every)

    def _is_left(self, found: list[Found]) -> bool:
        """Whether there is anything to look for besides what was found."""
        return not found or self.rest([*self.found, *found])

    def _matched(self, loss: Any, patterns: Iterable[Pattern], every: list[Found]) -> Miss | None:
        """Adds what has the structure of one of these; the nearest miss is returned."""
        nearest: Miss | None = None
        for pattern in patterns if self._is_left(every) else ():
            found, miss = self.search.find(pattern, self._predicates(pattern, loss))
            if miss is not None and (nearest is None or miss.agreed > nearest.agreed):
                nearest = miss
            if found:
                self._add(found, every, self.search.scaling.dynamic.keys())
                if not self.rest([*self.found, *every]):
                    break
        return nearest

    def _add_by_value(self, loss: Any, every: list[Found]) -> None:
        self._add(self._by_value.of(loss), every)

    def _add(self, found: list[Found], every: list[Found], scales: Set[int] = frozenset()) -> None:
        """Adds what is not the same gradient again: in another form, or by another prediction."""
        nodes = {node for one in every for node in one.nodes}
        known = self.flow.descendants(nodes, scales) | self.flow.ancestors(nodes, scales)
        every += [one for one in found if one.nodes.isdisjoint(known)]

    def rules_out(self, loss: Any) -> bool:
        """Whether a loss of Keras is not in the step, going by the values of its gradients."""
        # A mask leaves out rows.
        return self._by_value.tells and not self._may_be(loss, by_row=bool(self._masks))

    def _may_be(self, loss: Any, by_row: bool) -> bool:
        nodes = frozenset[int]().union(*(one.nodes for one in self.found))
        return self._by_value.may_be(loss, by_row, nodes)

    def sides(self, loss: Any, draw: int) -> list[Sides]:
        """The gradient of a loss by each prediction that it may be of, and what is there."""
        return self._by_value.sides(loss, draw)

    def makes(self, loss: Any, found: Found, tensor: Tensor) -> bool:
        """Whether a tensor is a multiple of a loss that was found."""
        return self._by_value.makes(loss, found, tensor)

    def is_weighed_by(self, found: Found, variable: VariableRef) -> bool:
        """Whether the value of a variable is what a loss is multiplied by."""
        return self._by_value.weighed(found, variable) == 2.0

    @functools.cached_property
    def outputs(self) -> Outputs:
        """What the model returns, where it is known."""
        return Outputs(self.step, self.flow, self.shapes)

    @functools.cached_property
    def _by_value(self) -> LossesByValue:
        places = Places(
            self.search, self.outputs, self._is_target, self._is_made, self._chain, self.shapes
        )
        return LossesByValue(self.search, self.outputs, places, self._masks_of)

    def _patterns(self, loss: Any, masked: bool) -> Iterator[Pattern]:
        weights = sorted(self.step.weights or ())
        weight = self.flow.spec(weights[0]) if weights else None
        by_keras = is_of_keras(loss)
        for target, prediction in self._meeting_specs:
            if masked and not any(self._is_mask_of(mask, prediction) for mask in self._masks):
                continue
            # Anybody's loss may take what it likes.
            if not by_keras or may_label(target[0], prediction[0]):
                ops = activations(self.flow, prediction)
                yield from loss_patterns(loss, target, prediction, weight, ops, masked)

    def _predicates(self, pattern: Pattern, loss: Any) -> dict[str, Predicate]:
        is_prediction = self.outputs.is_prediction
        if pattern.present and not takes_activated(loss):
            # An activation that the model does not have is no part of its prediction.
            is_prediction = self._is_before_activation
        return {
            "prediction": is_prediction,
            "target": self._is_target,
            "sample weight": self._is_sample_weight,
            "mask": lambda t: t in self._masks,
            "upstream": self.search.is_upstream,
        }

    def _is_before_activation(self, tensor: Tensor) -> bool:
        return self.outputs.is_prediction(tensor) and not self.outputs.is_returned(tensor)

    def _is_target(self, tensor: Tensor) -> bool:
        """Whether a tensor is the target a step is fed, as it is fed: smoothing is a loss's own."""
        if tensor[0] in self._of_weights:
            return False
        if self.step.targets is None:
            return True
        while tensor not in self.step.targets and (node := self.flat.node(tensor)).op in MOVES:
            if node.op == "StridedSlice" and not self._keeps_all(node):
                return False
            tensor = node.data[0]
        if (node := self.flat.node(tensor)).op in IFS:
            # A replica for which nothing is left of the last batch is fed an empty one.
            choices = [t for t in node.data[1:] if t[0] in self._of_data]
            return bool(choices) and all(self._is_target(choice) for choice in choices)
        return tensor in self.step.targets

    def _is_made(self, tensor: Tensor) -> bool:
        """Whether a tensor may be a target that the step makes: no variable that it updates does.

        It is computed from the target as it is fed, or by another network; or by the same one,
        behind ``stop_gradient``. Other rows, columns or another order of what is fed are none.
        """
        if tensor[0] in self._of_updated:
            return False
        above = self.flow.ancestors([tensor[0]], without=self.shapes)
        fed = {index for index, _ in self.step.targets or ()}
        if not above.isdisjoint(fed):
            between = above & self.flow.descendants(fed, without=self.shapes) - fed
            return not all(self._is_move(index, between | fed) for index in between)
        return not above.isdisjoint(self.flow.weights)

    def _is_move(self, index: int, of_fed: Set[int]) -> bool:
        """Whether an op moves what is fed, and does not look something up by it."""
        node = self.flat.nodes[index]
        looked_up = node.op in _LOOK_UP and node.data[0][0] not in of_fed
        return node.op in MOVES | _REARRANGES and not looked_up

    @functools.cached_property
    def _of_updated(self) -> set[int]:
        """What depends on variables that are updated, so that their gradients go through it."""
        stops = set(self.flow.matcher.by_op.get("StopGradient", ()))
        reads = (i for i, key in self.flow.weights.items() if key in self.flow.trained_of)
        return self.flow.descendants(reads, without=self.shapes | stops)

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
        """Which examples or steps of the batch count: truth values made numbers, or that choose."""
        by_op = self.flow.matcher.by_op
        taken = (self.flat.nodes[i].data[0] for op in _TAKE_MASKS for i in by_op.get(op, ()))
        return frozenset(
            tensor
            for mask in taken
            for tensor in self._reshaped(mask)
            if self.flat.dtype(tensor) == "bool"
            and tensor[0] in self.flow.of_data
            and tensor[0] not in self.flow.of_weights
        )

    def _reshaped(self, tensor: Tensor) -> Iterator[Tensor]:
        """A tensor, and what it was before it was put into another shape."""
        yield tensor
        while (node := self.flat.node(tensor)).op in RESHAPES:
            tensor = node.data[0]
            yield tensor

    def _masks_of(self, prediction: Spec) -> tuple[Tensor, ...]:
        return tuple(mask for mask in sorted(self._masks) if self._is_mask_of(mask, prediction))

    def _is_mask_of(self, mask: Tensor, prediction: Spec) -> bool:
        """Whether there is a truth value for each row."""
        rows = None if prediction[0] is None else prediction[0][:-1]
        return alike((self.flat.shape(mask), "bool"), (rows, "bool"))

    @functools.cached_property
    def _of_sample_weight(self) -> set[int]:
        return self.flow.after(self.step.weights or ())

    @functools.cached_property
    def _meeting_specs(self) -> list[tuple[Spec, Spec]]:
        """(target, prediction) specs, read off where data that is a target meets a prediction."""
        flow, found = self.flow, dict[tuple[Spec, Spec], None]()
        as_fed = self.step.targets or frozenset()
        fed_specs = list(dict.fromkeys(map(flow.spec, sorted(as_fed))))
        for index in sorted(flow.of_weights - flow.backward):
            node = self.flat.nodes[index]
            predictions = [t for t in node.data if t[0] in flow.of_weights]
            for prediction in predictions:
                targets = [t for t in node.data if self._meets(t, prediction)]
                for target in targets:
                    chain = filter(self._is_target, self._chain(target))
                    specs = dict.fromkeys([*fed_specs, *map(flow.spec, chain)])
                    for p in self._chain(prediction):
                        found.update(dict.fromkeys((spec, flow.spec(p)) for spec in specs))
        usable = [pair for pair in found if all(shape is not None for shape, _ in pair)]
        return [pair for pair in usable if pair[1][1].startswith(("float", "bfloat"))]

    def _meets(self, tensor: Tensor, prediction: Tensor) -> bool:
        """Whether what an op takes beside a prediction may be made of a target."""
        if tensor == prediction or tensor[0] in self._of_weights:
            return False
        if tensor[0] in self._of_targets or tensor in (self.step.targets or ()):
            return True
        # Where no target is fed, it may be made up: all ones of a discriminator's predictions.
        target, shape = self.flat.shape(tensor), self.flat.shape(prediction)
        return (
            self.step.targets is None
            and target is not None
            and shape is not None
            and target[:1] == shape[:1] != ()
            and 0 <= len(shape) - len(target) <= 1
        )

    @functools.cached_property
    def _of_targets(self) -> set[int]:
        fed = self.step.targets
        return self.flow.of_data if fed is None else self.flow.after(fed)

    @functools.cached_property
    def _of_weights(self) -> set[int]:
        """What depends on the values of weights, not merely on the shape of what they make."""
        return self.flow.descendants(self.flow.weights, without=self.shapes)

    @functools.cached_property
    def _of_data(self) -> set[int]:
        """What depends on the values of data, not merely on their shape."""
        return self.flow.descendants(self.flow.data, without=self.shapes)

    @functools.cached_property
    def shapes(self) -> set[int]:
        """Nodes that are decided by the shape of what they take."""
        return {i for op in _SHAPES for i in self.flow.matcher.by_op.get(op, ())}

    def _chain(self, tensor: Tensor) -> Iterator[Tensor]:
        """`tensor` and what it was made of by ops with one input whose values matter."""
        for _ in range(_CHAIN):
            yield tensor
            node = self.flat.node(tensor)
            live = [t for t in node.data if t[0] in self._of_data or t[0] in self._of_weights]
            if len(live) != 1:
                return
            tensor = live[0]


def _times(found: Found, factor: float) -> Found:
    if found.weight is None or factor == 1:
        return found
    return dataclasses.replace(found, weight=found.weight * factor)
