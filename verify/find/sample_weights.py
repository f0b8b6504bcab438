"""What sample weights do to the gradients of a step.

The gradients are computed for several weights, and several targets, of the same batch. As Keras
has it each weight multiplies what one example adds: gradients are linear in the weights, but for
what regularisers add, and with one weight that is not zero only the target of that example counts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from verify.find.gradient_values import GradientValues
from verify.find.observed import Array
from verify.flow import Update
from verify.graphs import Tensor
from verify.match import NoValueError

_TOLERANCE = 1e-4  # of the largest gradient
_EXAMPLES = 2  # of which one by one are looked at
_MUCH = 100.0  # times weights, so that bounds of them are met

Gradients = dict[Update, Array]


class SampleWeights:
    """Answers about one step, or one branch of it."""

    def __init__(self, gradients: GradientValues) -> None:
        self.gradients, self.step, self.flow = gradients, gradients.step, gradients.flow

    @property
    def handed(self) -> list[Tensor]:
        """The sample weights that the step is handed."""
        return sorted(self.step.weights or ())

    @functools.cached_property
    def reached(self) -> list[Update]:
        """The trained updates that sample weights decide, by dataflow alone."""
        below = self.flow.descendants(index for index, _ in self.handed)
        return [update for update in self.flow.trained if update.node.index in below]

    @functools.cached_property
    def _draw(self) -> _Draw:
        """The first draw in which gradients are finite.

        Raises:
            NoValueError: there is none, or the gradient of an update is not known.
        """
        why = "in no draw are all gradients finite"
        for draw in self.gradients.draws:
            try:
                found = _Draw(self, draw)
                if all(np.isfinite(one).all() for one in found.once.values()):
                    return found
            except NoValueError as error:
                why = str(error)
        raise NoValueError(why)

    def ignored(self) -> list[Update]:
        """The trained updates whose gradients targets change, and the weights do not.

        A bias before a normalisation has no gradient at all, whatever the weights are.

        Raises:
            NoValueError: gradients can't be computed.
        """
        draw = self._draw
        one, other = draw.once, draw.other
        turned = draw.by(draw.weights, draw.turned)
        return [
            update
            for update in one
            if draw.is_same(one[update], other[update])
            and not draw.is_same(one[update], turned[update])
        ]

    def wrong(self) -> Iterator[str]:
        """What they do besides multiplying the loss of each example by its weight.

        Raises:
            NoValueError: gradients can't be computed.
        """
        draw = self._draw
        once, twice = draw.once, draw.by(draw.times(2.0))
        if draw.are_same(once, twice) and not draw.are_same(once, draw.other):
            yield "twice the weights make the same gradients: they are divided by their sum, say"
            return
        nothing = draw.by(draw.times(0.0))
        if not all(np.isfinite(one).all() for one in nothing.values()):
            yield "with weights of zero there is no gradient that is finite"
            return
        power = draw.power(nothing, once, twice)
        if power is not None and not np.isclose(power, 2.0, rtol=1e-3):
            yield f"twice the weights make {power:.6g} times the gradients"
            return
        added = draw.by({t: w + _MUCH * draw.others[t] for t, w in draw.weights.items()})
        other = draw.other
        sums = {u: once[u] + _MUCH * (other[u] - nothing[u]) for u in once}
        if power is None or not draw.are_same(added, sums, _MUCH):
            yield "gradients are not linear in the weights"
            return
        if idle := draw.idle(once):
            told = ", ".join(map(str, idle))
            yield f"sample weights {told} of {len(draw.weights)}, from 0, decide nothing"
        if not draw.are_same(nothing, draw.by(draw.times(0.0), draw.turned)):
            yield "a loss that is differentiated as well is not multiplied by them"
        elif not draw.is_by_example():
            yield "the weight of one example multiplies the loss of another one"


class _Draw:
    """One draw of a batch, with other weights and targets put in."""

    def __init__(self, owner: SampleWeights, draw: int) -> None:
        self.owner, self.gradients, self.draw = owner, owner.gradients, draw
        base = self.gradients.evaluation(draw)
        if not all(tf.as_dtype(self.gradients.flat.dtype(t)).is_floating for t in owner.handed):
            raise NoValueError("sample weights are no real numbers")
        self.weights = {t: np.asarray(base.value(t), np.float64) for t in owner.handed}
        if not all(weight.ndim for weight in self.weights.values()):
            raise NoValueError("there is one sample weight for the whole batch")
        # Neither a multiple nor a permutation of the weights.
        self.others = {t: w[::-1] ** 2 + 0.3 for t, w in self.weights.items()}
        self.targets = {t: np.asarray(base.value(t)) for t in sorted(owner.step.targets or ())}
        # Other targets for all: in another order of examples and, where there are, of time steps.
        self.turned = {t: _turned(y) for t, y in self.targets.items()}
        self.scale = max(float(np.abs(one).max(initial=0)) for one in self.once.values())

    @functools.cached_property
    def once(self) -> Gradients:
        return self.by(self.weights)

    @functools.cached_property
    def other(self) -> Gradients:
        return self.by(self.others)

    def times(self, factor: float) -> dict[Tensor, Array]:
        return {tensor: factor * weight for tensor, weight in self.weights.items()}

    def by(
        self, weights: Mapping[Tensor, Array], targets: Mapping[Tensor, Array] | None = None
    ) -> Gradients:
        """The gradient of each trained update."""
        fed = {**weights, **(targets or {})}
        cut = {tensor: tf.constant(value) for tensor, value in fed.items()}
        here = self.gradients.evaluation_with(self.draw, cut)
        found = {}
        for update in self.owner.flow.trained:
            way = self.gradients.ways.get(update)
            if way is None:
                raise NoValueError("several gradients are added up in an update")
            found[update] = self.gradients.value(here, update, way[0])
        return found

    def is_same(self, one: Array, other: Array, times: float = 1.0) -> bool:
        return bool(np.abs(one - other).max(initial=0) <= _TOLERANCE * times * self.scale)

    def are_same(self, one: Gradients, other: Gradients, times: float = 1.0) -> bool:
        return all(self.is_same(one[update], other[update], times) for update in one)

    def idle(self, once: Gradients) -> list[int]:
        """Which of several sample weights no gradient depends on, from 0."""
        if len(self.weights) == 1:
            return []
        return [
            number
            for number, tensor in enumerate(self.weights)
            if self.are_same(once, self.by({**self.weights, tensor: self.others[tensor]}))
        ]

    def power(self, nothing: Gradients, once: Gradients, twice: Gradients) -> float | None:
        """By what twice the weights multiply the gradients, if by a number."""
        one, two = (
            np.concatenate([gradients[update] - nothing[update] for update in nothing])
            for gradients in (once, twice)
        )
        factor = float(one @ two / (one @ one)) if one.any() else 0.0
        return factor if self.is_same(two, factor * one) else None

    def is_by_example(self) -> bool:
        """Whether with one weight only the target counts that it is the weight of.

        Of several weights, and as many targets, each is that of the target in its place.
        """
        paired = len(self.weights) == len(self.targets)
        for number, (tensor, weight) in enumerate(self.weights.items()):
            own = [list(self.targets)[number]] if paired else list(self.targets)
            for i in range(min(_EXAMPLES, len(weight))):
                place = (i, *(0 for _ in weight.shape[1:]))
                alone = {t: np.zeros_like(w) for t, w in self.weights.items()}
                alone[tensor][place] = weight[place]
                others = dict(self.turned)
                for t in own:
                    target = self.targets[t]
                    kept = place if target.shape[: len(place)] == weight.shape else place[:1]
                    others[t] = self.turned[t].copy()
                    others[t][kept] = target[kept]
                if not self.are_same(self.by(alone), self.by(alone, others)):
                    return False
        return True


def _turned(target: Array) -> Array:
    if target.ndim < 2:
        return target[::-1] if target.ndim else target
    return target[::-1, ::-1]
