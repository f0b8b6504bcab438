"""One backward pass of a step, held against a function whose gradients it should compute."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from verify.find.gradient_values import GradientValues
from verify.find.observed import Array
from verify.find.passes import Both, Pass
from verify.find.step_feeds import LATER
from verify.find.witnesses import Sides, Witness, largest
from verify.flow import Update
from verify.graphs import Tensor
from verify.match import ROUNDED, NoValueError
from verify.references import ObjectiveGradients

_TOLERANCE = 1e-4  # of the largest element: constants have seven digits
_NOTHING = 1e-9  # of the largest gradient of all: there, only rounding is left
_ENOUGH = 2  # draws in which all is finite, and something is not zero


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
        self._pass = Pass(gradients, reference.flat, above, begins)

    def compared(self, ends: Mapping[Update, Tensor]) -> dict[Update, Comparison]:
        """How gradients compare, by where backpropagation ends for each."""
        return self._likeliest(ends)[0]

    def sides(self, ends: Mapping[Update, Tensor], draw: int) -> dict[Update, Sides]:
        """Both gradients of each update, on one draw."""
        return self._sides(ends, self._likeliest(ends)[1], draw)

    def decided_by(self) -> frozenset[int | str]:
        """The keys of variables by which the function's gradient is not zero in some draw.

        Raises:
            NoValueError: that can't be computed.
        """
        evaluated = next(self._pass.evaluations())
        found = set[int | str]()
        for draw in self.gradients.draws:
            _, there = evaluated(draw)
            every = {k: _array(there.value(t)) for k, t in self.reference.gradients.items()}
            size = max(map(largest, every.values()), default=0.0)
            found |= {k for k, one in every.items() if largest(one) > _TOLERANCE * size}
        return frozenset(found)

    def _likeliest(self, ends: Mapping[Update, Tensor]) -> tuple[dict[Update, Comparison], Both]:
        """How gradients compare where both are fed such that they are the most alike."""
        first: tuple[dict[Update, Comparison], Both] | None = None
        for both in self._pass.evaluations():
            found = self._compared(ends, both)
            if all(one.factor is not None for one in found.values()):
                return found, both
            if first is None or any(one.unknown for one in first[0].values()):
                first = found, both
        assert first is not None  # there is one way of feeding them at least
        return first

    def _sides(
        self, ends: Mapping[Update, Tensor], evaluated: Both, draw: int
    ) -> dict[Update, Sides]:
        here, there = evaluated(draw)
        found = dict[Update, Sides]()
        for update, tensor in ends.items():
            one = self.gradients.value(here, update, tensor)
            other = _array(there.value(self.reference.gradients[update.variable.key]))
            shape = [size or 0 for size in update.variable.shape]
            if one.size == other.size == math.prod(shape):
                one, other = one.reshape(shape), other.reshape(shape)
            found[update] = Sides(update.variable.path, one, other)
        return found

    def _compared(self, ends: Mapping[Update, Tensor], evaluated: Both) -> dict[Update, Comparison]:
        both: dict[Update, list[_Sample]] = {update: [] for update in ends}
        why = ""  # no value in the first draw: later ones have more classes than there may be
        enough: dict[Update, Comparison] = {}
        for draw in (*self.gradients.draws, *LATER):
            if enough and draw not in LATER:
                continue
            try:
                values = self._sides(ends, evaluated, draw)
            except NoValueError as error:
                why = why or str(error)
                continue
            every = [one for sides in values.values() for one in (sides.found, sides.expected)]
            if not all(np.isfinite(value).all() for value in every):
                continue
            size = max(map(largest, every)) or 1.0
            for update, sides in values.items():
                both[update].append(_Sample(draw, sides, size))
            if enough or len(both[update]) == _ENOUGH:
                enough = {
                    update: _comparison(samples, self._exact(update))
                    for update, samples in both.items()
                }
                if any(one.factor is None for one in enough.values()):
                    break
        if enough:
            return enough
        why = why or "in no draw of its arguments are all values finite"
        return {update: Comparison(unknown=why) for update in ends}

    def _exact(self, update: Update) -> float:
        """How far a gradient may be off: constants are as exact as the precision it is in."""
        return max(_TOLERANCE, ROUNDED.get(update.variable.dtype, 0.0))


def _array(value: Any) -> Array:
    return np.asarray(value, np.float64).reshape(-1)


@dataclasses.dataclass(frozen=True)
class _Sample:
    """Both gradients by a variable in one draw. `largest`: the largest element of all in it."""

    draw: int
    sides: Sides
    largest: float

    @property
    def apart(self) -> float:
        """The largest difference, beside which rounding is small; infinite of other shapes."""
        if self.sides.found.shape != self.sides.expected.shape:
            return float("inf")
        return largest(self.sides.found - self.sides.expected) / self.largest


def _comparison(samples: Sequence[_Sample], exact: float) -> Comparison:
    """How gradients, each as a share of the largest in its draw, compare with others.

    `exact`: how far they may be off, as a share of the largest element.
    """
    furthest = max(samples, key=lambda sample: sample.apart)
    apart = Comparison(witness=Witness(furthest.draw, furthest.sides))
    if furthest.apart == float("inf"):
        return apart
    ours = np.concatenate([one.sides.found.reshape(-1) / one.largest for one in samples])
    theirs = np.concatenate([one.sides.expected.reshape(-1) / one.largest for one in samples])
    off, size = largest(ours - theirs), max(largest(ours), largest(theirs))
    if off <= exact * size + _NOTHING:
        return Comparison(1.0, zero=size <= _NOTHING)
    factor = float(ours @ theirs / (theirs @ theirs)) if theirs.any() else 0.0
    if largest(theirs) and largest(ours - factor * theirs) <= exact * largest(ours) + _NOTHING:
        return Comparison(factor)
    return apart
