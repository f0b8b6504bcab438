"""One backward pass of a step, held against a function whose gradients it should compute.

Both are evaluated with the same: with what the step is handed, what variables hold when its
backward pass reads them, and random numbers, paired by what is drawn and in which order.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.drawn_numbers import shape_drawn
from verify.find.gradient_values import GradientValues
from verify.find.observed import Array
from verify.find.step_feeds import LATER, probabilities
from verify.find.witnesses import Sides, Witness
from verify.flow import Update
from verify.graphs import Node, Tensor, VariableRef, draws, is_stateful
from verify.match import Evaluation, NoValueError, Paired, Plan
from verify.references import ObjectiveGradients

_TOLERANCE = 1e-4  # of the largest element: constants have seven digits
_NOTHING = 1e-9  # of the largest gradient of all: there, only rounding is left
_ENOUGH = 2  # draws in which all is finite, and something is not zero
_MOST_ORDERS = 24  # in which random numbers are paired


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How the gradient that updates a variable compares with that of a function.

    `factor`: the number that the function's is multiplied by; None if there is none. `zero`: both
    are zero, whatever they are made of. `unknown`: why it can't be told. `witness`: numbers that
    show the difference.
    """

    factor: float | None = None
    zero: bool = False
    unknown: str = ""
    witness: Witness | None = None


class ObjectivePass:
    """One backward pass of a step, held against a function.

    `above`: the nodes that its gradients depend on; `begins`: where it begins.
    """

    def __init__(
        self, gradients: GradientValues, reference: ObjectiveGradients, above: set[int], begins: int
    ) -> None:
        self.gradients, self.reference = gradients, reference
        self.flat, self.other = gradients.flat, reference.flat
        self._plan = Plan(reference.flat)
        read = (node for node, _ in self.flat.reads() if node.index in above)
        self.first_read: dict[int | str, Node] = {}
        for node in read:
            variable = self.flat.variable(node)
            assert variable is not None  # it is read
            self.first_read.setdefault(variable.key, node)
        self.variables = {variable.key: variable for variable in self.flat.variables.values()}
        self.begins = self.flat.nodes[begins]
        self._draws = [n for n in self.flat.nodes if n.index in above and _is_fed(n)]

    def compared(self, gradients: Mapping[Update, Tensor]) -> dict[Update, Comparison]:
        return self._paired(gradients)[0]

    def sides(self, gradients: Mapping[Update, Tensor], draw: int) -> dict[Update, Sides]:
        """Both gradients of each update, on one draw."""
        _, pairs, at_first = self._paired(gradients)
        return self._sides(gradients, pairs, at_first, draw)

    def _paired(
        self, gradients: Mapping[Update, Tensor]
    ) -> tuple[dict[Update, Comparison], Mapping[int, Node], bool]:
        """How gradients compare, with the pairs of random ops by which they are the most alike.

        And whether variables are as before the step, not as when the pass reads them.
        """
        first: tuple[dict[Update, Comparison], Mapping[int, Node], bool] | None = None
        for at_first in (False, True) if self._is_moved else (False,):
            for pairs in self._pairings():
                found = self._compared(gradients, pairs, at_first)
                if all(one.factor is not None for one in found.values()):
                    return found, pairs, at_first
                if first is None or any(one.unknown for one in first[0].values()):
                    first = found, pairs, at_first
        assert first is not None  # there is one pairing at least
        return first

    @functools.cached_property
    def _rows(self) -> frozenset[Tensor]:
        """The arguments of the step that the function takes as probabilities."""
        arguments = self.gradients.step.arguments
        handed = () if arguments is None else arguments.tensors
        pairs = zip(self.other.arguments, handed, strict=True)
        own = {(index, 0): tensor for index, tensor in pairs if tensor is not None}
        return frozenset(own[tensor] for tensor in probabilities(self.other, own))

    @property
    def _is_moved(self) -> bool:
        """Whether the step writes a variable before the pass reads it."""
        return any(
            variable.key in self.first_read and node.index < self.first_read[variable.key].index
            for node, variable in self.flat.writes()
        )

    def _sides(
        self,
        gradients: Mapping[Update, Tensor],
        pairs: Mapping[int, Node],
        at_first: bool,
        draw: int,
    ) -> dict[Update, Sides]:
        here = self.gradients.evaluation(draw, rows=self._rows)
        there = Evaluation(self._plan, _Reference(self, here, pairs, at_first, draw))
        found = dict[Update, Sides]()
        for update, tensor in gradients.items():
            one = self.gradients.value(here, update, tensor)
            other = _array(there.value(self.reference.gradients[update.variable.key]))
            shape = [size or 0 for size in update.variable.shape]
            if one.size == other.size == math.prod(shape):
                one, other = one.reshape(shape), other.reshape(shape)
            found[update] = Sides(update.variable.path, one, other)
        return found

    def _compared(
        self, gradients: Mapping[Update, Tensor], pairs: Mapping[int, Node], at_first: bool
    ) -> dict[Update, Comparison]:
        both: dict[Update, list[_Sample]] = {update: [] for update in gradients}
        why = ""  # no value in the first draw: later ones have more classes than there may be
        enough: dict[Update, Comparison] = {}
        for draw in (*self.gradients.draws, *LATER):
            if enough and draw not in LATER:
                continue
            try:
                values = self._sides(gradients, pairs, at_first, draw)
            except NoValueError as error:
                why = why or str(error)
                continue
            every = [one for sides in values.values() for one in (sides.found, sides.expected)]
            if not all(np.isfinite(value).all() for value in every):
                continue
            largest = max(float(np.abs(value).max(initial=0)) for value in every) or 1.0
            for update, sides in values.items():
                both[update].append(_Sample(draw, sides, largest))
            if enough or len(both[update]) == _ENOUGH:
                enough = {update: _comparison(samples) for update, samples in both.items()}
                if any(one.factor is None for one in enough.values()):
                    break
        if enough:
            return enough
        why = why or "in no draw of its arguments are all values finite"
        return {update: Comparison(unknown=why) for update in gradients}

    def _pairings(self) -> Iterator[dict[int, Node]]:
        """Which random op of the step stands for each of the function; the likeliest first."""
        groups = _by_kind(self._draws)
        own = _by_kind(node for node in self.other.nodes if _is_fed(node))
        kinds = [kind for kind in own if kind in groups]
        choices = (itertools.permutations(groups[kind]) for kind in kinds)
        for orders in itertools.islice(itertools.product(*choices), _MOST_ORDERS):
            yield {
                node.index: partner
                for kind, order in zip(kinds, orders, strict=True)
                for node, partner in zip(own[kind], order, strict=False)
            }


def _is_fed(node: Node) -> bool:
    """Whether an op draws other numbers each time; what it makes of a seed is computed."""
    return draws(node.op) and is_stateful(node.op)


def _by_kind(nodes: Iterable[Node]) -> dict[tuple[str, str], list[Node]]:
    """Random ops by what they draw: those of one kind may stand for one another."""
    found: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        ranks = [None if shape is None else len(shape) for shape in node.shapes]
        found.setdefault((node.op, f"{node.dtypes} {ranks}"), []).append(node)
    return found


class _Reference(Paired):
    """Feeds a function with what one backward pass of the step is fed."""

    def __init__(
        self,
        own: ObjectivePass,
        here: Evaluation,
        pairs: Mapping[int, Node],
        at_first: bool,
        draw: int,
    ) -> None:
        super().__init__(own.other, {}, draw)
        self.own, self.here, self.pairs, self.at_first = own, here, pairs, at_first
        self._numbers = {index: i for i, index in enumerate(own.other.arguments)}

    def variable(self, variable: VariableRef) -> Any:
        used = self.own.variables.get(variable.key)
        if used is None:
            spec = variable.shape, variable.dtype
            return tf.constant(self._weights(spec, variable.path))
        if self.at_first:
            return self.here.feed.variable(used)
        return self.here.final(used, self.own.first_read.get(variable.key, self.own.begins))

    def argument(self, node: Node, output: int) -> Any:
        arguments = self.own.gradients.step.arguments
        assert arguments is not None  # the function was traced on them
        tensor = arguments.tensors[self._numbers[node.index]]
        if tensor is None:
            raise NoValueError("an argument that this branch does not use is used by the function")
        return self.here.value(tensor)

    def drawn(self, node: Node, inputs: Sequence[Any], turn: tuple[int, ...]) -> Sequence[Any]:
        partner = self.pairs.get(node.index)
        if partner is None:
            raise NoValueError(f"it draws a random number that the step does not draw ({node.op})")
        if turn or self.here.plan.loops_around(partner.path):  # a value for each turn
            numbers = self.here.feed.drawn(partner, inputs, turn)
        else:
            numbers = [self.here.value((partner.index, i)) for i in range(len(partner.dtypes))]
        own = shape_drawn(node, inputs)
        for shape, fed in zip(node.shapes, numbers, strict=True):
            wanted = shape if own is None else own
            if not tf.TensorShape(wanted).is_compatible_with(fed.shape):
                raise NoValueError(
                    f"it draws random numbers of shape {wanted}, the step of {(*fed.shape,)}"
                )
        return numbers


def _array(value: Any) -> Array:
    return np.asarray(value, np.float64).reshape(-1)


@dataclasses.dataclass(frozen=True)
class _Sample:
    """Both gradients by a variable in one draw. `largest`: the largest element of all in it."""

    draw: int
    sides: Sides
    largest: float


def _comparison(samples: Sequence[_Sample]) -> Comparison:
    """How gradients, each as a share of the largest in its draw, compare with others."""
    furthest = max(samples, key=lambda sample: sample.sides.apart)
    apart = Comparison(witness=Witness(furthest.draw, furthest.sides))
    if furthest.sides.apart == float("inf"):
        return apart
    ours = np.concatenate([one.sides.found.reshape(-1) / one.largest for one in samples])
    theirs = np.concatenate([one.sides.expected.reshape(-1) / one.largest for one in samples])
    off, size = _largest(ours - theirs), max(_largest(ours), _largest(theirs))
    if off <= _TOLERANCE * size + _NOTHING:
        return Comparison(1.0, zero=size <= _NOTHING)
    factor = float(ours @ theirs / (theirs @ theirs)) if theirs.any() else 0.0
    if (
        _largest(theirs)
        and _largest(ours - factor * theirs) <= _TOLERANCE * _largest(ours) + _NOTHING
    ):
        return Comparison(factor)
    return apart


def _largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0))
