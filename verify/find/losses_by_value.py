"""Which gradients of a step have the values that the gradient of an expected loss has.

However a loss is written, its gradient is a function of prediction, target and sample weight. Where
the backward pass comes to what may be a prediction, these three are cut and fed with numbers of the
domain that the loss is for, in several draws, and what the step computes is held against what the
expected loss has on the same. Equal up to a constant: that constant is its weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from verify.find.loss_draws import LOSS_DRAWS, MANY, Comparison, LossDraw, NumbersFed
from verify.find.loss_evaluations import LossEvaluations
from verify.find.loss_places import Place, Places, may_label
from verify.find.outputs import Outputs
from verify.find.search import Found, Search
from verify.find.witnesses import Sides
from verify.graphs import Node, Spec, Tensor, VariableRef, exclusive
from verify.match import DRAWS, Evaluation, NoValueError
from verify.references import (
    LossKey,
    is_of_keras,
    is_of_labels,
    is_of_numbers,
    mixes_rows,
)

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class _Hit:
    """Nodes that have the expected gradient by a prediction, times a constant.

    `activated`: the probabilities that the loss is of, where the prediction is their logits.
    """

    place: Place
    nodes: frozenset[int]
    factor: float
    target: Tensor | float | None
    activated: Tensor | None = None


_CHANGE = 0.05  # how exact that is


class LossesByValue:
    """Answers about one step, or one branch of it.

    Args:
        search: of the step or the branch.
        outputs: what the model returns, where it is known.
        places: where a loss may be.
        masks_of: what may say which rows of a prediction count, by its spec.
    """

    def __init__(
        self,
        search: Search,
        outputs: Outputs,
        places: Places,
        masks_of: Callable[[Spec], tuple[Tensor, ...]],
    ) -> None:
        self.search, self.flow, self.flat = search, search.flow, search.flat
        self.weights = tuple(sorted(search.step.weights or ()))
        self._outputs, self._places, self._masks_of = outputs, places, masks_of
        self._values = LossEvaluations(search, outputs)
        self._blind: set[Tensor] = set()
        self._compared: set[LossKey] = set()
        self._left_besides: dict[frozenset[int], list[Place]] = {}

    def of(self, loss: Any) -> list[Found]:
        """Where the gradient of a loss reaches an update, by what it computes."""
        hits: list[_Hit] = []
        for place in self._places.all:
            for target in (*place.targets, *self._made(loss, place)):
                found = [
                    hit
                    for weight in (None, *self.weights)
                    for hit in self._hits(loss, place, target, weight)
                ]
                found = found or self._masked(loss, place, target)
                hits += self._last(found)
                if found:
                    break
        return [self._found(hit) for hit in self._one_each(hits)]

    def _made(self, loss: Any, place: Place) -> tuple[Tensor, ...]:
        """What may be a target that the step makes. Smoothed labels are a loss' own."""
        # What is made of both is no target, but a loss.
        made = place.made if place.of_layer else ()
        if not is_of_labels(loss):
            return made
        fed = [target for target in place.targets if isinstance(target, tuple)]
        of_weights = self.flow.of_weights
        return tuple(
            t for t in made if t[0] in of_weights or any(self._values.is_one_hot(t, y) for y in fed)
        )

    def _masked(self, loss: Any, place: Place, target: Tensor | float | None) -> list[_Hit]:
        """The mean over those rows that count, as Keras makes it of a prediction with a mask."""
        spec = self.flow.spec(place.prediction)
        masks = self._masks_of(spec) if is_of_keras(loss) and place.of_layer else ()
        return [hit for mask in masks for hit in self._hits(loss, place, target, mask)]

    def _found(self, hit: _Hit) -> Found:
        target = hit.target
        fed, made_up = (target, None) if isinstance(target, tuple) else (None, target)
        found = self.search.found(hit.nodes, hit.place.prediction, fed, hit.factor)
        found = dataclasses.replace(found, made=fed in hit.place.made, made_up=made_up)
        if hit.activated is None:
            return found
        name = self.flat.node(hit.activated).id
        return dataclasses.replace(found, prediction=name, activated=hit.activated)

    def may_be(self, loss: Any, by_row: bool, besides: frozenset[int]) -> bool:
        """Whether a gradient is that of a loss, but for a factor, or one for each row.

        Looked at is what a layer makes, and what meets a target that the step is handed; `besides`:
        nodes of gradients that are known, and all that reaches updates by these alone.
        """
        return any(
            self._hits(loss, place, target, weight, by_row)
            for place in self._left(besides)
            for target in self._likely(place, loss)
            for weight in (None, *self.weights)
        )

    def _likely(self, place: Place, loss: Any) -> Iterator[Tensor | float]:
        """The targets that a loss has in most steps."""
        shape = self.flat.shape(place.prediction)
        for target in (*place.targets, *(place.made if place.of_layer else ())):
            if not isinstance(target, tuple):
                if target is not None and place.of_layer and is_of_numbers(loss):
                    yield target
            elif (place.of_layer or target in place.met) and may_label(
                self.flat.shape(target), shape
            ):
                yield target

    def _left(self, besides: frozenset[int]) -> list[Place]:
        """The places whose gradients reach an update by another way than through these nodes."""
        if besides not in self._left_besides:
            updates = (update.node.index for update in self.flow.trained)
            above = self.flow.ancestors(updates, without=besides)
            self._left_besides[besides] = [
                place
                for place in self._places.all
                if any(index in above for summands in place.gradients for index, _ in summands)
            ]
        return self._left_besides[besides]

    def weighed(self, found: Found, by: VariableRef) -> float | None:
        """What a gradient is multiplied by while a variable is 2; None if that is not known."""
        fed = NumbersFed(0, {by.key: 2.0})
        try:
            value = Evaluation(self._values.plan, fed).value((found.upstream, 0)).numpy()
        except NoValueError:
            return None
        return float(value) if value.size == 1 else None

    def makes(self, loss: Any, found: Found, tensor: Tensor) -> bool:
        """Whether a tensor is a multiple of a loss, going by how both change with the prediction.

        The loss is known by its gradient alone, which may be a part of that of several sums.
        """
        prediction, target = found.predicted, found.target or found.made_up
        if prediction is None:
            return False
        ratios = list[float]()
        for weight in (None, *self.weights):
            for gradient in self._values.forms(loss, prediction, target, weight):
                for domains in gradient.domains:
                    specs = self._values.specs(prediction, target, weight)
                    for draw in range(DRAWS):
                        drawn = LossDraw(domains, target, weight, draw, *specs)
                        ratio = self._values.change(found, prediction, drawn, tensor)
                        ratios += [] if ratio is None else [ratio]
                    if len(ratios) > 1:
                        return bool(np.allclose(ratios, ratios[0], rtol=_CHANGE, atol=0))
        return False

    @property
    def tells(self) -> bool:
        """Whether there is a place for a loss, and each could be looked at."""
        return bool(self._places.all) and not self._blind

    def settles(self, loss: Any) -> bool:
        """Whether a loss that is found nowhere is in no backward pass, however it is written.

        It had a value somewhere, and no backward pass is without a place that was looked at.
        """
        return self.tells and self._places.everywhere and LossKey(loss) in self._compared

    def sides(self, loss: Any, draw: int) -> list[Sides]:
        """The gradient of a loss by each layer's output that it may judge, and what is there.

        In one draw; of the gradients that are there, it is the one that is the most alike.
        """
        places = (place for place in self._places.all if place.of_layer)
        return [
            sides
            for place in places
            for target in self._likely(place, loss)
            for weight in (self.weights or (None,))
            if (sides := self._sides(loss, place, target, weight, draw)) is not None
        ]

    def _sides(
        self, loss: Any, place: Place, target: Tensor | float, weight: Tensor | None, draw: int
    ) -> Sides | None:
        """None where the loss has no value, or what is there can't be computed."""
        every = self._values.forms(loss, place.prediction, target, weight)
        for gradient, domains in ((form, domains) for form in every for domains in form.domains):
            drawn = LossDraw(
                domains, target, weight, draw, *self._values.specs(place.prediction, target, weight)
            )
            expected = (
                self._values.expected(LossKey(loss), gradient, drawn) if drawn.tells else None
            )
            if expected is None or not np.isfinite(expected[0]).all() or gradient.activated:
                continue
            numbers = self._values.numbers(place.prediction, drawn)
            try:
                there = [numbers(tensor) for (tensor,) in place.whole]
            except NoValueError:
                return None
            name = self.flat.node(place.prediction).id
            wanted = expected[0].astype(np.float64)
            fed = dict(zip(("target", "prediction", "sample weight"), drawn.given, strict=False))
            alike = (Sides(name, one, wanted, fed) for one in there if np.isfinite(one).all())
            return min(alike, key=lambda sides: sides.apart, default=None)
        return None

    # -- what is there -----------------------------------------------------------------------------

    def _hits(
        self,
        loss: Any,
        place: Place,
        target: Tensor | float | None,
        weight: Tensor | None,
        by_row: bool = False,
    ) -> list[_Hit]:
        fed, prediction, given = self._values.specs(place.prediction, target, weight)
        key, rows_mixed = LossKey(loss), mixes_rows(loss)
        masks = self._masks_of(prediction) if by_row else ()
        for gradient in self._values.forms(loss, place.prediction, target, weight):
            for domains in gradient.domains:
                # Some summands of a loss are one of another target that is but a number.
                there = place.whole if isinstance(target, float) else place.gradients
                comparison, activated = Comparison(there, by_row), None
                for draw in range(LOSS_DRAWS):
                    drawn = LossDraw(domains, target, weight, draw, fed, prediction, given, masks)
                    if not drawn.tells:
                        break
                    if rows_mixed and draw == 0 and not self._values.mixes_rows(place, drawn):
                        self._compared.add(key)
                        break
                    expected = self._values.expected(key, gradient, drawn)
                    if expected is None:
                        if gradient.alike and draw == 0:  # nor will it be of these shapes later
                            break
                    elif not gradient.activated or (
                        activated := self._values.computed(place, drawn, expected[1])
                    ):
                        numbers = self._values.numbers(place.prediction, drawn)
                        comparison.add(expected[0], numbers, doubtful=draw in MANY)
                    elif draw == 0:  # something else follows the prediction
                        break
                    if not comparison.left:
                        break
                if comparison.draws:
                    self._compared.add(key)
                hits = [
                    _Hit(
                        place, frozenset(index for index, _ in summands), factor, target, activated
                    )
                    for summands, factor in comparison.factors()
                    if self._places.decides(target, summands)
                ]
                # Many a loss is linear somewhere; only of a layer is what comes before one known.
                linear = comparison.constant and not (place.of_layer and not gradient.alike)
                if hits and not linear:
                    return hits
                if comparison.unknown:
                    self._blind.add(place.prediction)
                if comparison.draws and not gradient.alike:
                    break
        return []

    # -- what was found ----------------------------------------------------------------------------

    def _last(self, hits: list[_Hit]) -> list[_Hit]:
        """The gradients by one prediction that all of these lead to, as one where they add up."""
        hits = self._covering(hits)
        nodes = frozenset[int]().union(*(hit.nodes for hit in hits))
        whole: list[_Hit] = []
        for hit in hits:
            below = set[int]().union(*(self.search.below(node) for node in hit.nodes))
            # What comes after may change the sign, or add up what are parts of it.
            if not nodes & below <= hit.nodes or any(hit.nodes & one.nodes for one in whole):
                continue
            path = self.flat.nodes[max(hit.nodes)].path
            for i, other in enumerate(whole):
                if any(exclusive(path, self.flat.nodes[n].path) for n in other.nodes):
                    continue
                factor = other.factor + hit.factor
                if self._is_copy(hit, other):
                    if not np.isclose(other.factor, hit.factor, rtol=1e-4):
                        continue
                    factor = other.factor
                whole[i] = dataclasses.replace(other, nodes=other.nodes | hit.nodes, factor=factor)
                break
            else:
                whole.append(hit)
        return whole

    def _covering(self, hits: list[_Hit]) -> list[_Hit]:
        """Without those that are the same as one before, which trains more than these do."""
        left = hits
        for hit in hits:
            below = set[int]().union(*(self.search.below(node) for node in hit.nodes))
            later = [one for one in left if one is not hit and one.nodes - hit.nodes <= below]
            same = all(np.isclose(one.factor, hit.factor, rtol=1e-4) for one in later)
            if hit in left and later and same:
                trained = self.search.trained_by(frozenset().union(*(one.nodes for one in later)))
                if not {*self.search.trained_by(hit.nodes)} <= {*trained}:
                    left = [one for one in left if one not in later]
        return left

    def _is_copy(self, hit: _Hit, other: _Hit) -> bool:
        """Whether two gradients are not added up: they train other variables, or are made twice.

        The gradient of rows that were gathered is made dense again for each op that takes it.
        """
        trained = {*self.search.trained_by(hit.nodes)}
        if trained.isdisjoint(self.search.trained_by(other.nodes)):
            return True
        one, another = self.flat.nodes[max(hit.nodes)], self.flat.nodes[max(other.nodes)]
        return one.op == another.op and self._taken(one) == self._taken(another)

    def _taken(self, node: Node) -> list[Tensor]:
        """What a node takes of the backward pass."""
        return [tensor for tensor in node.data if tensor[0] in self.flow.backward]

    def _one_each(self, hits: list[_Hit]) -> list[_Hit]:
        """For each gradient the hit whose prediction is nearest to the weights."""
        found: list[_Hit] = []
        for hit in sorted(hits, key=lambda hit: hit.place.prediction):
            known = [n for other in found for n in other.nodes]
            above = self.flow.ancestors(known)
            if above.isdisjoint(hit.nodes) and self.flow.descendants(known).isdisjoint(hit.nodes):
                found.append(hit)
        return found
