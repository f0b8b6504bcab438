"""Faults in the regularisation."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.training import Training

_L2 = keras.regularizers.L2(0.01)


class OnBoth(Training):
    """With L1 and L2 on the first kernel."""

    regulariser: Any = keras.regularizers.L1L2(0.02, 0.01)

    def terms(self) -> list[Any]:
        return [self.regulariser(self.first.value)]

    def expected(self) -> dict[str, Any]:
        return {**super().expected(), "regularization": [(self.first, self.regulariser)]}

    @property
    def first(self) -> Any:
        return self.sample.regularised[0][0]


class OnOrthogonal(OnBoth):
    """With orthogonal columns of the first matrix."""

    regulariser = keras.regularizers.OrthogonalRegularizer(0.01)

    @property
    def first(self) -> Any:
        return next(v for v in self.trained if len(v.shape) == 2 and v.shape[0] > 1)


class OnOwn(OnBoth):
    """With a regulariser of the user's own."""

    @staticmethod
    def regulariser(x: Any) -> Any:
        return 0.03 * tf.reduce_sum(tf.math.log(1.0 + x**2))


@planted("regularization", "none there")
class Missing(Training):
    """A term missing on one layer."""

    def terms(self) -> list[Any]:
        return super().terms()[:-1]


@planted("regularization", "none there")
class NotAdded(Training):
    """Terms that are computed, and not added to the loss."""

    def total(self, y: Any, prediction: Any) -> Any:
        self.metric.update_state(tf.reshape(tf.add_n(self.terms()), (1,)), [0.0])
        return self.data_loss(y, prediction)


@planted("regularization", "none there")
class Frozen(Training):
    """A term on a stopped value of the variable."""

    def terms(self) -> list[Any]:
        (first, regulariser), *_ = self.sample.regularised
        return [regulariser(tf.stop_gradient(first.value)), *super().terms()[1:]]


@planted("regularization", "no other term")
class TwiceThere(Training):
    """A term twice on one layer."""

    def terms(self) -> list[Any]:
        (first, regulariser), *_ = self.sample.regularised
        return [*super().terms(), regulariser(first.value)]


@planted("regularization", r"no other term.*\n.*on ")
class Additional(Training):
    """A term on a variable that should have none."""

    def terms(self) -> list[Any]:
        regularised = {id(variable) for variable, _ in self.sample.regularised}
        other = next(v for v in self.trained if id(v) not in regularised)
        return [*super().terms(), _L2(other.value)]


@planted("regularization", r"L2\(l2=0\.02\)|weight 2")
class WrongFactor(Training):
    """A factor of 0.02 instead of 0.01."""

    def terms(self) -> list[Any]:
        (first, _), *_ = self.sample.regularised
        return [keras.regularizers.L2(0.02)(first.value), *super().terms()[1:]]


@planted("regularization", r"L1\(l1=0\.01\)")
class WrongKind(Training):
    """L1 instead of L2."""

    def terms(self) -> list[Any]:
        (first, _), *_ = self.sample.regularised
        return [keras.regularizers.L1(0.01)(first.value), *super().terms()[1:]]


@planted("regularization", "weight -1")
class WrongSign(Training):
    """A term that is subtracted."""

    def terms(self) -> list[Any]:
        first, *others = super().terms()
        return [-first, *others]


@planted("regularization", "weight 0.125")
class OfTheBatch(Training):
    """Terms divided by the size of the batch."""

    def terms(self) -> list[Any]:
        return [term / 8.0 for term in super().terms()]


@planted("regularization", r"L1L2\(l1=0\.01, l2=0\.01\)|L1|first difference")
class WrongPart(OnBoth):
    """L1L2 with another L1."""

    def terms(self) -> list[Any]:
        return [keras.regularizers.L1L2(0.01, 0.01)(self.first.value)]


@planted("regularization", r"L2\(l2=0\.01\)|first difference")
class HalfOfIt(OnBoth):
    """L2 where L1L2 is meant."""

    def terms(self) -> list[Any]:
        return [_L2(self.first.value)]


@planted("regularization", "OrthogonalRegularizer|first difference|none there")
class WrongOrthogonal(OnOrthogonal):
    """An orthogonal regulariser of another factor."""

    def terms(self) -> list[Any]:
        return [keras.regularizers.OrthogonalRegularizer(0.02)(self.first.value)]


@planted("regularization", "weight 1.33333")
class WrongOwn(OnOwn):
    """A user's regulariser with another constant."""

    def terms(self) -> list[Any]:
        return [0.04 * tf.reduce_sum(tf.math.log(1.0 + self.first.value**2))]


@planted("regularization", "none there", also=("loss",))
class OnActivities(Training):
    """A regulariser on a layer's outputs instead of its kernel."""

    def total(self, y: Any, prediction: Any) -> Any:
        return tf.add_n([self.data_loss(y, prediction), _L2(prediction), *self.terms()[1:]])
