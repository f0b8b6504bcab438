"""What a step, and what losses, compute on the same draws of predictions and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.loss_draws import Kept, LossDraw, NumbersFed, Value
from verify.find.loss_places import Place, activations, alike
from verify.find.outputs import Outputs
from verify.find.search import Found, Search
from verify.graphs import Spec, Tensor
from verify.match import Domain, Evaluation, NoValueError, Plan, concrete, drawn
from verify.references import (
    LossGradient,
    LossKey,
    is_of_keras,
    loss_gradients,
    takes_activated,
)

Array = np.ndarray[Any, Any]

_OF_KERAS = Kept()
_SAME = 1e-6  # of the largest gradient: how exact the same ops are on the same numbers
_ONE_HOT = 2  # draws of labels, of which some row is not that of another class by chance
_SHIFT = 1e-2  # of a prediction, to see how a tensor changes with it


class LossEvaluations:
    """Evaluates one step, or one branch of it.

    Args:
        search: of the step or the branch.
        outputs: what the model returns, where it is known.
    """

    def __init__(self, search: Search, outputs: Outputs) -> None:
        self.flow, self._outputs = search.flow, outputs
        self.plan = Plan(search.flat)
        self._evaluations: dict[Any, Evaluation] = {}
        self._arrays: dict[Any, dict[Tensor, Array]] = {}
        self._mixed: dict[Tensor, bool] = {}
        self._one_hot: dict[tuple[Tensor, Tensor], bool] = {}
        self._references = Kept()

    def specs(
        self, of: Tensor, target: Tensor | float | None, weight: Tensor | None
    ) -> tuple[Spec, Spec, Spec | None]:
        """Of a target, a prediction and a sample weight."""
        prediction = self.flow.spec(of)
        fed = self.flow.spec(target) if isinstance(target, tuple) else prediction
        return fed, prediction, None if weight is None else self.flow.spec(weight)

    def forms(
        self, loss: Any, of: Tensor, target: Tensor | float | None, weight: Tensor | None
    ) -> Iterator[LossGradient]:
        """The forms in which a loss may be of a prediction."""
        specs = self.specs(of, target, weight)
        if specs[1][0] == () and is_of_keras(loss):
            return  # they take the mean over the last axis
        for gradient in loss_gradients(loss, *specs, activations(self.flow, specs[1])):
            if gradient.weighted != (weight is not None):
                continue
            if not gradient.activated or self._may_be_activated(loss, of):
                yield gradient

    def _may_be_activated(self, loss: Any, prediction: Tensor) -> bool:
        return takes_activated(loss) or not self._outputs.is_returned(prediction)

    def expected(self, loss: LossKey, gradient: LossGradient, drawn: LossDraw) -> Value:
        # Keras' own losses are the same for every step that has them at all; see `LossKey`.
        kept = _OF_KERAS if gradient.alike else self._references
        return kept.value((loss, gradient.form, drawn.key), lambda: gradient.of(*drawn.given))

    def _evaluation(self, of: Tensor, drawn: LossDraw) -> Evaluation:
        key = of, drawn.place_key
        if key not in self._evaluations:
            self._evaluations[key] = Evaluation(self.plan, NumbersFed(drawn.draw), drawn.cut(of))
        return self._evaluations[key]

    def numbers(self, of: Tensor, drawn: LossDraw) -> Callable[[Tensor], Array]:
        """What tensors are in a draw; many a loss asks for it."""
        evaluation = self._evaluation(of, drawn)
        known = self._arrays.setdefault((of, drawn.place_key), {})

        def number(tensor: Tensor) -> Array:
            if tensor not in known:
                known[tensor] = _numbers(evaluation, tensor, drawn.given[1].ndim)
            return known[tensor]

        return number

    def computed(self, place: Place, drawn: LossDraw, wanted: Array | None) -> Tensor | None:
        """What follows a prediction's logits on the way forward, and has these values."""
        evaluation = self._evaluation(place.prediction, drawn)
        spec = self.flow.spec(place.prediction)
        for index in sorted(place.after):
            if alike(self.flow.spec((index, 0)), spec):
                try:
                    value = evaluation.value((index, 0)).numpy()
                except NoValueError:
                    continue
                if wanted is None or value.shape != wanted.shape:
                    continue
                if np.allclose(value, wanted, rtol=1e-3, atol=1e-5):
                    return index, 0
        return None

    def is_one_hot(self, made: Tensor, labels: Tensor) -> bool:
        """Whether what a step makes of labels is 1 at the class of each, and 0 elsewhere."""
        if (made, labels) not in self._one_hot:
            self._one_hot[made, labels] = self._is_one_hot(made, labels)
        return self._one_hot[made, labels]

    def _is_one_hot(self, made: Tensor, labels: Tensor) -> bool:
        (shape, dtype), (rows, _) = self.flow.spec(labels), self.flow.spec(made)
        classes = rows[-1] if rows else None
        if shape is None or classes is None or not tf.as_dtype(dtype).is_integer:
            return False
        spec = concrete(shape, 0), dtype
        for draw in range(_ONE_HOT):
            given = drawn(spec, Domain.CLASSES, draw, "labels", classes)
            cut = {labels: tf.constant(given)}
            try:
                value = Evaluation(self.plan, NumbersFed(draw), cut).value(made).numpy()
            except NoValueError:
                return False
            if not np.array_equal(value.reshape(-1, classes), np.eye(classes)[given.ravel()]):
                return False
        return True

    def mixes_rows(self, place: Place, drawn: LossDraw) -> bool:
        """Whether the gradient by a row of a prediction depends on others, or that is not known."""
        if place.prediction not in self._mixed:
            self._mixed[place.prediction] = self._is_mixed(place, drawn)
        return self._mixed[place.prediction]

    def _is_mixed(self, place: Place, drawn: LossDraw) -> bool:
        prediction = drawn.given[1]
        if prediction.ndim < 2:
            return True
        other = np.array(prediction)
        rows = other.reshape(-1, other.shape[-1])
        rows[::2] = np.roll(rows[::2], 1, axis=-1)
        fed = {**drawn.cut(place.prediction), place.prediction: tf.constant(other)}
        changed = Evaluation(self.plan, NumbersFed(drawn.draw), fed)
        numbers = self.numbers(place.prediction, drawn)
        for (tensor,) in place.whole:
            try:
                before, after = numbers(tensor), _numbers(changed, tensor, prediction.ndim)
            except NoValueError:
                return True
            if before.shape != prediction.shape or not np.isfinite(before).all():
                return True
            apart = np.abs(before - after).reshape(rows.shape)[1::2]
            if not apart.size or not np.all(apart <= _SAME * np.abs(before).max()):
                return True
        return False

    def change(
        self, found: Found, prediction: Tensor, drawn: LossDraw, tensor: Tensor
    ) -> float | None:
        """By how much more a tensor changes in some direction than the gradient says, in a draw."""
        base = np.asarray(drawn.given[1], np.float64)
        rng = np.random.default_rng([drawn.draw, 1])
        direction = rng.normal(size=base.shape) * (np.abs(base).mean() or 1.0)
        cut = drawn.cut(prediction)
        ends = list[float]()
        try:
            there = [self.numbers(prediction, drawn)((node, 0)) for node in sorted(found.nodes)]
            for sign in (1, -1):
                moved = (base + sign * _SHIFT * direction).astype(drawn.given[1].dtype)
                fed = {**cut, prediction: tf.constant(moved)}
                value = Evaluation(self.plan, NumbersFed(drawn.draw), fed).value(tensor)
                # The losses of examples are added up, as a tape does.
                ends.append(float(np.sum(value.numpy(), dtype=np.float64)))
        except NoValueError:
            return None
        if any(part.shape != base.shape for part in there):
            return None
        expected = float(np.sum(np.sum(there, axis=0) * direction)) * 2 * _SHIFT
        change = ends[0] - ends[1]
        return change / expected if np.isfinite([change, expected]).all() and expected else None


def _numbers(evaluation: Evaluation, tensor: Tensor, axes: int) -> Array:
    """What a tensor is, without axes of one before so many: those of a vector of one loss."""
    value: Array = evaluation.value(tensor).numpy().astype(np.float64)
    more = max(0, value.ndim - axes)
    return value.reshape(value.shape[more:]) if value.shape[:more] == (1,) * more else value
