"""Which gradients of a step have the values that the gradient of an expected loss has.

However a loss is written, its gradient is a function of prediction, target and sample weight. Where
the backward pass comes to what may be a prediction, these three are cut and fed with numbers of the
domain that the loss is for, in several draws, and what the step computes is held against what the
expected loss has on the same. Equal up to a constant: that constant is its weight.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.loss_draws import Comparison, Kept, LossDraw, Summands, Value
from verify.find.outputs import Outputs
from verify.find.search import Found, Search
from verify.flow import REAL, SUMS, Seed
from verify.graphs import Spec, Tensor, VariableRef, exclusive
from verify.match import DRAWS, NUMBERS, Drawn, Evaluation, NoValueError, Plan, concrete
from verify.references import LossGradient, LossKey, loss_gradients, takes_activated

Array = np.ndarray[Any, Any]

_MOST_PREDICTIONS = 48  # that are looked at before a loss
_MOST_SUMMANDS = 6  # of which partial sums are looked at
_MOST_VALUES = 1 << 20  # of a tensor that is drawn


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a gradient by what may be a prediction is in a step.

    `gradients`: what may be the last to compute it, or a summand of it, or the sum of some of them.
    `after`: what is computed from the prediction on the way forward. `of_layer`: whether a layer
    makes it.
    """

    prediction: Tensor
    of_layer: bool
    gradients: tuple[Summands, ...]
    targets: tuple[Tensor | float | None, ...]
    after: frozenset[int]


@dataclasses.dataclass(frozen=True)
class _Hit:
    """Nodes that have the expected gradient by a prediction, times a constant."""

    place: Place
    nodes: frozenset[int]
    factor: float
    target: Tensor | None


class _Fed(Drawn):
    """Draws, where any number by itself is 1: as a scale, it then multiplies by nothing.

    `numbers`: those that are others, by key of the variable.
    """

    def __init__(self, draw: int, numbers: Mapping[int | str, float] | None = None) -> None:
        super().__init__(draw)
        self.numbers = numbers or {}

    def variable(self, variable: VariableRef) -> Any:
        if variable.shape == () and variable.dtype in REAL:
            return tf.constant(self.numbers.get(variable.key, 1.0), variable.dtype)
        return super().variable(variable)


_OF_KERAS = Kept()


class LossesByValue:
    """Answers about one step, or one branch of it.

    Args:
        search: of the step or the branch.
        outputs: what the model returns, where it is known.
        is_target: whether a tensor is a target, as the step is fed it.
        origins: a tensor, and what it was made of by ops of one input.
        shapes: nodes that are decided by the shape of what they take.
    """

    def __init__(
        self,
        search: Search,
        outputs: Outputs,
        is_target: Callable[[Tensor], bool],
        origins: Callable[[Tensor], Iterable[Tensor]],
        shapes: set[int],
    ) -> None:
        self.search, self.flow, self.flat = search, search.flow, search.flat
        self.targets, self.weights = search.step.targets, tuple(sorted(search.step.weights or ()))
        self._outputs, self._is_target = outputs, is_target
        self._origins, self._shapes = origins, shapes
        self._plan = Plan(self.flat)
        self._evaluations: dict[Any, Evaluation] = {}
        self._blind: set[Tensor] = set()
        self._references = Kept()

    def of(self, loss: Any) -> list[Found]:
        """Where the gradient of a loss reaches an update, by what it computes."""
        hits: list[_Hit] = []
        for place in self.places:
            for target in place.targets:
                found = [
                    hit
                    for weight in (None, *self.weights)
                    for hit in self._hits(loss, place, target, weight)
                ]
                hits += self._last(found)
                if found:
                    break
        return [
            self.search.found(hit.nodes, hit.place.prediction, hit.target, hit.factor)
            for hit in self._one_each(hits)
        ]

    def may_be(self, loss: Any, by_row: bool) -> bool:
        """Whether a gradient is that of a loss, but for a factor, or one for each row."""
        if not by_row:
            return bool(self.of(loss))
        return any(
            self._hits(loss, place, target, None, by_row=True)
            for place in self.places
            for target in place.targets
        )

    def weighed(self, found: Found, by: VariableRef) -> float | None:
        """What a gradient is multiplied by while a variable is 2; None if that is not known."""
        fed = _Fed(0, {by.key: 2.0})
        try:
            value = Evaluation(self._plan, fed).value((found.upstream, 0)).numpy()
        except NoValueError:
            return None
        return float(value) if value.size == 1 else None

    @property
    def tells(self) -> bool:
        """Whether there is a place for a loss, and each could be looked at."""
        return bool(self.places) and not self._blind

    # -- where a loss may be -----------------------------------------------------------------------

    @functools.cached_property
    def places(self) -> list[Place]:
        """What may be a prediction, with the gradients by it, in the order of the seeds."""
        return [
            place
            for seed in self.flow.seeds
            for prediction in self._predictions(seed)
            if (place := self._place(seed, prediction)) is not None
        ]

    def _predictions(self, seed: Seed) -> list[Tensor]:
        """What a loss is computed from, nearest first, up to ops that take a weight."""
        backward = self.search.below(seed.node)
        of_both = self.flow.of_weights & self.flow.of_data
        found: dict[Tensor, None] = {}
        frontier = self._whole(seed.loss)
        while frontier and len(found) < _MOST_PREDICTIONS:
            following: list[Tensor] = []
            for tensor in frontier:
                if tensor in found or tensor[0] in backward or tensor[0] in self.flow.weights:
                    continue
                if tensor[0] not in of_both or self.flat.dtype(tensor) not in REAL:
                    continue
                found[tensor] = None
                data = self.flat.node(tensor).data
                if all(source not in self.flow.weights for source, _ in data):
                    following += data
            frontier = following
        fed = self._of_targets
        return [
            tensor
            for tensor in found
            if tensor[0] not in fed
            and self._is_drawable(self.flow.spec(tensor))
            and self._outputs.is_prediction(tensor)
        ]

    def _whole(self, loss: Tensor) -> list[Tensor]:
        """A loss that is differentiated, and the sums that it is a part of: so are the others."""
        whole = [loss]
        for tensor in whole:
            for user in self.flow.consumers[tensor[0]]:
                node = self.flat.nodes[user]
                if node.op in SUMS and tensor in node.data and user not in self.flow.backward:
                    whole += [t for t in ((user, 0),) if t not in whole]
        return whole

    @functools.cached_property
    def _of_targets(self) -> set[int]:
        if self.targets is None:
            return set()
        return self.flow.after(self.targets) - self._by_shape(self.targets)

    def _by_shape(self, tensors: Iterable[Tensor]) -> set[int]:
        """What depends on these by their shape alone."""
        direct = {u for index, _ in tensors for u in self.flow.consumers[index]}
        by_value = self.flow.descendants(direct - self._shapes, without=self._shapes)
        return self.flow.descendants(direct) - by_value

    def _is_drawable(self, spec: Spec) -> bool:
        shape, dtype = spec
        if shape is None or dtype not in NUMBERS:
            return False
        return bool(np.prod(concrete(shape, 0), dtype=float) <= _MOST_VALUES)

    def _place(self, seed: Seed, prediction: Tensor) -> Place | None:
        flow, nodes = self.flow, self.flat.nodes
        backward = self.search.below(seed.node)
        source = prediction[0]
        after = flow.descendants([source], without=self._shapes) - flow.backward - {source}
        # Where values computed from the prediction enter, its gradient is not yet complete.
        entering = [i for i, taken in flow.takes.items() if not after.isdisjoint(taken)]
        incomplete = flow.ancestors(
            tensor[0] for i in entering for tensor in nodes[i].data if tensor[0] in flow.backward
        )
        others = flow.descendants(flow.weights.keys() - {source}, without={source})
        spec = flow.spec(prediction)
        complete = backward - incomplete - others
        last = [
            (index, 0)
            for index in sorted(complete)
            if self._alike(flow.spec((index, 0)), spec) and self.search.trained_by([index])
        ]
        if not last:
            return None
        gradients = (*((tensor,) for tensor in last), *self._partial_sums(last, complete))
        targets = self._targets_met(source, after, spec)
        of_layer = self._outputs.is_of_layer(prediction)
        return Place(prediction, of_layer, gradients, targets, frozenset(after))

    def _partial_sums(self, sums: Iterable[Tensor], complete: Set[int]) -> Iterator[Summands]:
        """Of what is added up, several but not all: the parts, perhaps, of one loss of many."""
        seen = set[Summands]()
        for total in sums:
            parts = dict.fromkeys(itertools.islice(self._summands(total), _MOST_SUMMANDS + 1))
            if not all(index in complete for index, _ in parts) or len(parts) > _MOST_SUMMANDS:
                continue
            for size in range(2, len(parts)):
                for some in itertools.combinations(parts, size):
                    if some not in seen:
                        seen.add(some)
                        yield some

    def _summands(self, total: Tensor) -> Iterator[Tensor]:
        stack = [total]
        while stack:
            node = self.flat.node(stack[-1])
            if node.op in SUMS - {"Sub"} and node.index in self.flow.backward:
                stack[-1:] = reversed(node.data)
            else:
                yield stack.pop()

    def _alike(self, spec: Spec, other: Spec) -> bool:
        (a, dtype), (b, same) = spec, other
        if a is None or b is None or len(a) != len(b) or dtype != same:
            return False
        return all(None in (n, m) or n == m for n, m in zip(a, b, strict=True))

    def _targets_met(
        self, source: int, after: set[int], spec: Spec
    ) -> tuple[Tensor | float | None, ...]:
        """What may be the target of a loss: a tensor, made up of one number, or not looked at."""
        found: dict[Tensor | float | None, None] = {}
        for index in sorted(after):
            for tensor in self.flat.nodes[index].data:
                if tensor[0] == source or tensor[0] in after:
                    continue
                for origin in self._origins(tensor):
                    if self._is_target(origin) and self._is_drawable(self.flow.spec(origin)):
                        found[origin] = None
        if self.targets is not None:
            for tensor in sorted(self.targets):
                if self._is_drawable(self.flow.spec(tensor)):
                    found[tensor] = None
        else:
            found.update(dict.fromkeys((1.0, 0.0)))
        return tuple(found) or (None,)

    # -- what is there -----------------------------------------------------------------------------

    def _hits(
        self,
        loss: Any,
        place: Place,
        target: Tensor | float | None,
        weight: Tensor | None,
        by_row: bool = False,
    ) -> list[_Hit]:
        prediction = self.flow.spec(place.prediction)
        fed = self.flow.spec(target) if isinstance(target, tuple) else prediction
        given = None if weight is None else self.flow.spec(weight)
        ops = self.flow.matcher.by_op
        for gradient in loss_gradients(loss, fed, prediction, given, ops):
            if gradient.weighted != (weight is not None):
                continue
            if gradient.activated and not self._may_be_activated(loss, place.prediction):
                continue
            for domains in gradient.domains:
                comparison = Comparison(place.gradients, by_row)
                for draw in range(DRAWS):
                    drawn = LossDraw(domains, target, weight, draw, fed, prediction, given)
                    if not drawn.tells:
                        break
                    expected = self._expected(LossKey(loss), gradient, drawn)
                    if expected is not None and not (
                        gradient.activated and not self._is_computed(place, drawn, expected[1])
                    ):
                        comparison.add(expected[0], self._evaluation(place, drawn).value)
                    if not comparison.left:
                        break
                against = target if isinstance(target, tuple) else None
                hits = [
                    _Hit(place, frozenset(index for index, _ in summands), factor, against)
                    for summands, factor in comparison.factors()
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

    def _may_be_activated(self, loss: Any, prediction: Tensor) -> bool:
        return takes_activated(loss) or not self._outputs.is_returned(prediction)

    def _expected(self, loss: LossKey, gradient: LossGradient, drawn: LossDraw) -> Value:
        # Keras' own losses are the same for every step that has them at all; see `LossKey`.
        kept = _OF_KERAS if gradient.alike else self._references
        return kept.value((loss, gradient.form, drawn.key), lambda: gradient.of(*drawn.given))

    def _evaluation(self, place: Place, drawn: LossDraw) -> Evaluation:
        key = place.prediction, drawn.place_key
        if key not in self._evaluations:
            self._evaluations[key] = Evaluation(
                self._plan, _Fed(drawn.draw), drawn.cut(place.prediction)
            )
        return self._evaluations[key]

    def _is_computed(self, place: Place, drawn: LossDraw, wanted: Array | None) -> bool:
        """Whether what follows a prediction's logits is computed on the way forward."""
        evaluation = self._evaluation(place, drawn)
        spec = self.flow.spec(place.prediction)
        for index in sorted(place.after):
            if self._alike(self.flow.spec((index, 0)), spec):
                try:
                    value = evaluation.value((index, 0)).numpy()
                except NoValueError:
                    continue
                if wanted is None or value.shape != wanted.shape:
                    continue
                if np.allclose(value, wanted, rtol=1e-3, atol=1e-5):
                    return True
        return False

    # -- what was found ----------------------------------------------------------------------------

    def _last(self, hits: list[_Hit]) -> list[_Hit]:
        """The gradients by one prediction that all of these lead to, as one where they add up."""
        nodes = frozenset[int]().union(*(hit.nodes for hit in hits))
        whole: list[_Hit] = []
        for hit in hits:
            below = set[int]().union(*(self.search.below(node) for node in hit.nodes))
            # What comes after may change the sign, or add up what are parts of it.
            if not nodes & below <= hit.nodes or any(hit.nodes & one.nodes for one in whole):
                continue
            path = self.flat.nodes[max(hit.nodes)].path
            for i, other in enumerate(whole):
                if not any(exclusive(path, self.flat.nodes[n].path) for n in other.nodes):
                    factor = other.factor + hit.factor
                    whole[i] = dataclasses.replace(
                        other, nodes=other.nodes | hit.nodes, factor=factor
                    )
                    break
            else:
                whole.append(hit)
        return whole

    def _one_each(self, hits: list[_Hit]) -> list[_Hit]:
        """For each gradient the hit whose prediction is nearest to the weights."""
        found: list[_Hit] = []
        for hit in sorted(hits, key=lambda hit: hit.place.prediction):
            known = [n for other in found for n in other.nodes]
            above = self.flow.ancestors(known)
            if above.isdisjoint(hit.nodes) and self.flow.descendants(known).isdisjoint(hit.nodes):
                found.append(hit)
        return found
