"""Where in a step a loss may be: predictions, with the gradients by them and what they meet."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Set

import numpy as np

from verify.find.loss_draws import Summands
from verify.find.outputs import Outputs
from verify.find.search import Search
from verify.flow import REAL, SUMS, Flow, Seed
from verify.graphs import Guard, Spec, Tensor
from verify.match import NUMBERS, concrete
from verify.references import PREDICTION_FORMS

_MOST_PREDICTIONS = 48  # that are looked at before a loss, but for what layers make
_FURTHEST = 4096  # tensors before a loss among which a layer's output is looked for
_MOST_SUMMANDS = 6  # of which partial sums are looked at
_MOST_VALUES = 1 << 20  # of a tensor that is drawn
_CARRIED = (*REAL, "variant")  # as what values go on: loops hold the elements of a tensor in lists

Shape = tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a gradient by what may be a prediction is in a step.

    `seed`: the node at which its backward pass begins.
    `gradients`: what may be the last to compute it, or a summand of it, or the sum of some of them;
    `whole`: those of them that nothing is added to.
    `met`: those of its `targets` that it meets. `made`: tensors that may be targets which the step
    makes. `after`: what is computed from the
    prediction on the way forward. `of_layer`: whether a layer makes it.
    """

    seed: int
    prediction: Tensor
    of_layer: bool
    gradients: tuple[Summands, ...]
    whole: tuple[Summands, ...]
    targets: tuple[Tensor | float | None, ...]
    met: frozenset[Tensor]
    made: tuple[Tensor, ...]
    after: frozenset[int]


class Places:
    """Finds them in one step, or in one branch of it.

    Args:
        search: of the step or the branch.
        outputs: what the model returns, where it is known.
        is_target: whether a tensor is a target, as the step is fed it.
        is_made: whether a tensor may be a target that the step makes.
        origins: a tensor, and what it was made of by ops of one input.
        shapes: nodes that are decided by the shape of what they take.
    """

    def __init__(
        self,
        search: Search,
        outputs: Outputs,
        is_target: Callable[[Tensor], bool],
        is_made: Callable[[Tensor], bool],
        origins: Callable[[Tensor], Iterable[Tensor]],
        shapes: set[int],
    ) -> None:
        self.search, self.flow, self.flat = search, search.flow, search.flat
        self.targets = search.step.targets
        self._outputs, self._is_target, self._is_made = outputs, is_target, is_made
        self._origins, self._shapes = origins, shapes
        self._decided: dict[Tensor, Set[int]] = {}

    @functools.cached_property
    def all(self) -> list[Place]:
        """What may be a prediction, with the gradients by it, in the order of the seeds."""
        return [
            place
            for seed in self.flow.seeds
            for prediction in self._predictions(seed)
            if (place := self._place(seed, prediction)) is not None
        ]

    @functools.cached_property
    def _updated(self) -> set[int]:
        """Nodes that read a variable which is trained."""
        flow = self.flow
        return {index for index, key in flow.weights.items() if key in flow.trained_of}

    @functools.cached_property
    def everywhere(self) -> bool:
        """Whether each backward pass that trains something has such a place."""
        there = {place.seed for place in self.all}
        trains = (seed.node for seed in self.flow.seeds if self.search.trained_by([seed.node]))
        return there.issuperset(trains)

    def _predictions(self, seed: Seed) -> list[Tensor]:
        """What a loss is computed from, nearest first, up to ops that take a weight."""
        backward = self.search.below(seed.node)
        of_data, of_weights = self.flow.of_data, self.flow.of_weights
        found: dict[Tensor, None] = {}
        frontier = self.flow.sums_of(seed)
        while frontier and len(found) < _FURTHEST:
            following: list[Tensor] = []
            for tensor in frontier:
                if tensor in found or tensor[0] in backward or tensor[0] in self.flow.weights:
                    continue
                if not (tensor[0] in of_weights and tensor[0] in of_data):
                    continue
                if self.flat.dtype(tensor) not in _CARRIED:
                    continue
                found[tensor] = None
                data = self.flat.node(tensor).data
                if all(source not in self.flow.weights for source, _ in data):
                    following += data
            frontier = following
        fed = self._of_targets
        return [
            tensor
            for number, tensor in enumerate(found)
            # A layer may be handed the target, or the class of what it judges, as well.
            if (
                (number < _MOST_PREDICTIONS and tensor[0] not in fed)
                or self._outputs.is_of_layer(tensor)
            )
            and self._is_drawable(self.flow.spec(tensor))
            and self._outputs.is_prediction(tensor)
        ]

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
        entering = {user for i in after for user in flow.users[i] if user in flow.backward}
        incomplete = flow.ancestors(
            tensor[0] for i in entering for tensor in nodes[i].data if tensor[0] in flow.backward
        )
        # Neither does what another way from updated variables decides, unless gradients stop there.
        stops = set(flow.matcher.by_op.get("StopGradient", ()))
        above = flow.ancestors(backward) & self._updated
        others = flow.descendants(above - {source}, without={source} | stops)
        spec = flow.spec(prediction)
        complete = backward - incomplete - others
        last = [
            (index, 0)
            for index in sorted(complete)
            if _is_as_large(flow.spec((index, 0)), spec) and self.search.trained_by([index])
        ]
        if not last:
            return None
        gradients = (*((tensor,) for tensor in last), *self._partial_sums(last, complete))
        added = {t for total in last if nodes[total[0]].op in SUMS for t in nodes[total[0]].data}
        whole = tuple((tensor,) for tensor in last if tensor not in added)
        labels = dict.fromkeys(self._labels_met(source, after, spec))
        targets = self._targets(source, labels, {index for index, _ in last})
        of_layer = self._outputs.is_of_layer(prediction)
        # Within a loop a tensor has another value in each turn.
        loops = self._loops(prediction)
        met = (t for t in self._met(source, after) if t not in targets)
        made = tuple(t for t in met if self._loops(t) == loops and self._may_be(t))
        later = frozenset(after)
        return Place(
            seed.node,
            prediction,
            of_layer,
            gradients,
            whole,
            targets,
            frozenset(labels),
            made,
            later,
        )

    def _partial_sums(self, sums: Iterable[Tensor], complete: Set[int]) -> Iterator[Summands]:
        """Of what is added up, several but not all: the parts, perhaps, of one loss of many."""
        seen = set[Summands]()
        for total in sums:
            every = dict.fromkeys(itertools.islice(self._summands(total), _MOST_SUMMANDS + 1))
            if len(every) > _MOST_SUMMANDS:
                continue
            # What is added up here may also be where the gradient of another part begins.
            parts = [part for part in every if part[0] in complete]
            for size in range(2, min(len(parts) + 1, len(every))):
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

    def _loops(self, tensor: Tensor) -> list[Guard]:
        return self.flat.loops(self.flat.node(tensor).path)

    def _may_be(self, made: Tensor) -> bool:
        spec = self.flow.spec(made)
        return spec[1] in REAL and self._is_drawable(spec) and self._is_made(made)

    def _met(self, source: int, after: set[int]) -> list[Tensor]:
        """What a prediction, and what is computed from it, meet on the way forward."""
        met = (t for index in sorted(after) for t in self.flat.nodes[index].data)
        return [t for t in dict.fromkeys(met) if t[0] != source and t[0] not in after]

    def _has_labels(self, tensor: Tensor, prediction: Spec) -> bool:
        """Whether a tensor is a target, or a constant that has a label for each example."""
        if self.flow.folder.value(tensor) is None:
            return self._is_target(tensor)
        shape, whole = self.flat.shape(tensor), prediction[0]
        return bool(shape and whole and shape[0] == whole[0])

    def _labels_met(self, source: int, after: set[int], spec: Spec) -> Iterator[Tensor]:
        """The targets that a prediction, or what is computed from it, meets."""
        fed = self._may_be_labelled(source)
        for tensor in self._met(source, after):
            for origin in self._origins(tensor):
                there = self._is_target(origin) if fed else self._has_labels(origin, spec)
                if there and self._is_drawable(self.flow.spec(origin)):
                    yield origin

    def _may_be_labelled(self, source: int) -> bool:
        """Whether targets are fed, and a prediction is not made of them."""
        return self.targets is not None and source not in self._of_targets

    def _targets(
        self, source: int, met: Iterable[Tensor], last: Set[int]
    ) -> tuple[Tensor | float | None, ...]:
        """What may be the target of a loss: a tensor, made up of one number, or not looked at.

        Args:
            source: the node of the prediction.
            met: what it meets.
            last: the last nodes that compute the gradient by it.
        """
        found: dict[Tensor | float | None, None] = dict.fromkeys(met)
        specs = {tensor: self.flow.spec(tensor) for tensor in sorted(self.targets or ())}
        fed = [tensor for tensor, spec in specs.items() if self._is_drawable(spec)]
        undecided = all(last.isdisjoint(self._decided_by(tensor)) for tensor in fed)
        # Of several inputs, as of a GAN, none need be a target.
        if self._may_be_labelled(source) and not (undecided and all(map(self._is_input, fed))):
            found.update(dict.fromkeys(fed))
        else:
            found.update(dict.fromkeys((1.0, 0.0)))
        return tuple(found) or (None,)

    def _is_input(self, target: Tensor) -> bool:
        """Whether a layer takes what a step is handed where targets are."""
        decided = self._decided_by(target)
        return any(user in decided for read in self.flow.weights for user in self.flow.users[read])

    def decides(self, target: Tensor | float | None, summands: Iterable[Tensor]) -> bool:
        """Whether a gradient depends on the value of a target, which it must to be a loss of it."""
        if not isinstance(target, tuple) or target not in (self.targets or ()):
            return True
        decided = self._decided_by(target)
        return any(index in decided for index, _ in summands)

    def _decided_by(self, target: Tensor) -> Set[int]:
        """What depends on the value of a target, not on its shape alone."""
        if target not in self._decided:
            self._decided[target] = self.flow.after([target]) - self._by_shape([target])
        return self._decided[target]


def alike(spec: Spec, other: Spec) -> bool:
    (a, dtype), (b, same) = spec, other
    if a is None or b is None or len(a) != len(b) or dtype != same:
        return False
    return all(None in (n, m) or n == m for n, m in zip(a, b, strict=True))


def _is_as_large(gradient: Spec, prediction: Spec) -> bool:
    """Whether a gradient may be that by a prediction: of a vector of one loss, it has an axis more.

    So it is in ``tape.jacobian``.
    """
    shape, whole = gradient[0], prediction[0]
    more = 0 if shape is None or whole is None else len(shape) - len(whole)
    if shape is not None and more > 0 and shape[:more] == (1,) * more:
        return alike((shape[more:], gradient[1]), prediction)
    return alike(gradient, prediction)


def activations(flow: Flow, spec: Spec) -> set[str]:
    """The activations, by op type, that may have made a prediction of this spec."""
    by_op = flow.matcher.by_op
    return {
        op
        for op in PREDICTION_FORMS
        if any(alike(flow.spec((index, 0)), spec) for index in by_op.get(op, ()))
    }


def may_label(target: Shape, prediction: Shape) -> bool:
    """Whether a target has a label, or numbers, for each row of a prediction."""
    if target is None or prediction is None or target == prediction:
        return True
    short, long = sorted((target, prediction), key=len)
    if not short or len(long) - len(short) > 1:
        return False
    rows = zip(long[:-1], short, strict=False)
    return all(n == m or None in (n, m) or 1 in (n, m) for n, m in rows)
