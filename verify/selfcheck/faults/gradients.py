"""Faults in what becomes of gradients: clipping, variables, updates, decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import Sample
from verify.selfcheck.training import Gradients, Training


class ByNorm(Training):
    clipping = {"norm": 1.0}  # noqa: RUF012


class ByGlobalNorm(Training):
    clipping = {"global_norm": 1.0}  # noqa: RUF012


class Unscaled(Training):
    scaled = True


# -- clipping --------------------------------------------------------------------------------------


@planted("clipping", "not clipped")
class NotClipped(Training):
    """No gradient clipped."""

    def treat(self, gradients: Gradients) -> Gradients:
        return gradients


@planted("clipping", "not clipped")
class OneNotClipped(Training):
    """All gradients clipped but one."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [*super().treat(gradients)[:-1], gradients[-1]]


@planted("clipping", r"clipped to \[-0\.2, 0\.1\]")
class WrongLower(Training):
    """Another lower bound."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [tf.clip_by_value(g, -0.2, 0.1) for g in gradients]


@planted("clipping", r"clipped to \[-0\.1, 1\]")
class WrongUpper(Training):
    """Another upper bound, for one gradient."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [tf.clip_by_value(gradients[0], -0.1, 1.0), *super().treat(gradients)[1:]]


@planted("clipping", "limited, but not by a known clip")
class OneSided(Training):
    """Clipped from above only."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [tf.minimum(g, 0.1) for g in gradients]


@planted("clipping", "not clipped", also=("loss", "regularization"))
class LossClipped(Training):
    """The loss is clipped instead of its gradients."""

    def total(self, y: Any, prediction: Any) -> Any:
        return tf.clip_by_value(super().total(y, prediction), -0.1, 0.1)

    def treat(self, gradients: Gradients) -> Gradients:
        return gradients


@planted("clipping", "not clipped")
class VariablesClipped(Training):
    """Variables are clipped after their update, instead of gradients before."""

    def treat(self, gradients: Gradients) -> Gradients:
        return gradients

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients, variables)
        for variable in variables:
            variable.assign(tf.clip_by_value(variable.value, -0.1, 0.1))


@planted("clipping", "divided by the loss scale after the clip")
class ClippedTooEarly(Unscaled):
    """Clipped before the loss scale is divided out."""

    def gradients(self, tape: tf.GradientTape, total: Any) -> Gradients:
        variables = [variable.value for variable in self.watched()]
        return list(tape.gradient(total, variables))

    def treat(self, gradients: Gradients) -> Gradients:
        return [g / self.scale for g in super().treat(gradients)]


@planted("loss", "divided by scale, a loss scale that multiplies no loss")
class NeverScaled(Unscaled):
    """Divided by the loss scale, which multiplied no loss."""

    def scale_loss(self, total: Any) -> Any:
        return total


@planted("clipping", "clipped to norm 0.1")
class ByNormInstead(Training):
    """By norm instead of by value."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [tf.clip_by_norm(g, 0.1) for g in gradients]


@planted("clipping", "clipped to norm 2")
class WrongNorm(ByNorm):
    """Another norm."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [tf.clip_by_norm(g, 2.0) for g in gradients]


@planted("clipping", "clipped to global norm 1")
class GlobalInstead(ByNorm):
    """By the norm of all gradients instead of each one's."""

    def treat(self, gradients: Gradients) -> Gradients:
        return list(tf.clip_by_global_norm(gradients, 1.0)[0])


@planted("clipping", "clipped to norm 1")
class EachInstead(ByGlobalNorm):
    """Each by its own norm instead of that of all."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [tf.clip_by_norm(g, 1.0) for g in gradients]


@planted("clipping", "clipped to global norm 5")
class WrongGlobalNorm(ByGlobalNorm):
    """Another global norm."""

    def treat(self, gradients: Gradients) -> Gradients:
        return list(tf.clip_by_global_norm(gradients, 5.0)[0])


@planted("clipping", "by a norm of|by a norm that is not")
class NormOfSome(ByGlobalNorm):
    """By the norm of all gradients but one."""

    def treat(self, gradients: Gradients) -> Gradients:
        return list(tf.clip_by_global_norm(gradients, 1.0, tf.linalg.global_norm(gradients[1:]))[0])


@planted("clipping", "by a norm of|not clipped")
class SomeByNorm(ByGlobalNorm):
    """One gradient left out of the clip by global norm."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [*tf.clip_by_global_norm(gradients[:-1], 1.0)[0], gradients[-1]]


@planted("clipping", "only parts of its gradient|goes around|changed after")
class InParts(Training):
    """The data loss' and the regularisers' gradients are clipped apart, and then added."""

    def gradients(self, tape: tf.GradientTape, total: Any) -> Gradients:
        variables = [variable.value for variable in self.watched()]
        with tf.GradientTape() as other:
            for variable in variables:
                other.watch(variable)
            added = tf.add_n(self.terms())
        zeros = tf.UnconnectedGradients.ZERO
        parts = other.gradient(added, variables, unconnected_gradients=zeros)
        whole = tape.gradient(total, variables)
        return [self.clip(g) + self.clip(part) for g, part in zip(whole, parts, strict=True)]

    def total(self, y: Any, prediction: Any) -> Any:
        return self.data_loss(y, prediction)

    def clip(self, gradient: Any) -> Any:
        return tf.clip_by_value(gradient, -0.1, 0.1)

    def treat(self, gradients: Gradients) -> Gradients:
        return gradients


@planted("clipping", "goes around|changed after|only parts", also=("regularization",))
class TermsAfter(Training):
    """The regularisers' gradients are added after the clip."""

    def total(self, y: Any, prediction: Any) -> Any:
        return self.data_loss(y, prediction)

    def treat(self, gradients: Gradients) -> Gradients:
        variables = [variable.value for variable in self.watched()]
        with tf.GradientTape() as tape:
            for variable in variables:
                tape.watch(variable)
            added = tf.add_n(self.terms())
        zeros = tf.UnconnectedGradients.ZERO
        parts = tape.gradient(added, variables, unconnected_gradients=zeros)
        return [g + part for g, part in zip(super().treat(gradients), parts, strict=True)]


@planted("clipping", "changed after the clip", also=("loss",))
class NoiseAfter(Training):
    """Noise is added after the clip."""

    def treat(self, gradients: Gradients) -> Gradients:
        noise = [tf.random.stateless_normal(g.shape, (1, 2)) for g in gradients]
        return [
            g + n * tf.reduce_mean(self.seen)
            for g, n in zip(super().treat(gradients), noise, strict=True)
        ]

    def predict(self, x: Any) -> Any:
        self.seen = x
        return super().predict(x)


@planted("clipping", "not clipped")
class OutputsClipped(Training):
    """The gradient by the prediction is clipped instead of those by variables."""

    def predict(self, x: Any) -> Any:
        @tf.custom_gradient
        def clipped(prediction: Any) -> Any:
            return tf.identity(prediction), lambda g: tf.clip_by_value(g, -0.1, 0.1)

        return clipped(super().predict(x))

    def treat(self, gradients: Gradients) -> Gradients:
        return gradients


# -- variables and updates -------------------------------------------------------------------------


@planted("watched", "missing: ", also=("regularization", "decayed"))
class OneLeftOut(Training):
    """A variable left out."""

    def watched(self) -> list[Any]:
        return self.trained[1:]


@planted("watched", "too many: ", also=("unwatched", "decayed"))
class OneTooMany(Training):
    """A frozen variable trained."""

    def watched(self) -> list[Any]:
        return [*self.trained, *self.frozen]


@planted("watched", "missing: ", also=("regularization", "decayed"))
class NotApplied(Training):
    """A gradient computed and clipped, and not applied."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients[1:], variables[1:])


@planted("watched", "missing: ", also=("regularization",))
class Masked(Training):
    """A gradient that is masked with zeros."""

    def treat(self, gradients: Gradients) -> Gradients:
        treated = super().treat(gradients)
        return [treated[0] * tf.zeros(treated[0].shape), *treated[1:]]


@planted("watched", "but not from a gradient", also=("regularization", "decayed"))
class ByHand(Training):
    """A variable that is scaled by hand, instead of updated from its gradient."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients[1:], variables[1:])
        variables[0].assign(0.99 * variables[0].value)


@planted("watched", "updated once more")
class AppliedTwice(Training):
    """Gradients applied twice."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients, variables)
        super().apply(gradients, variables)


@planted("watched", "updated once more")
class TwoOptimizers(Training):
    """A second optimizer on one of the variables."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.second = keras.optimizers.Nadam()
        self.second.build(self.trained[:1])

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients, variables)
        self.second.apply(gradients[:1], variables[:1])


@planted("unwatched", "by hand, not by a gradient", also=("decayed",))
class FrozenWritten(Training):
    """A frozen variable written by hand."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients, variables)
        self.frozen[0].assign(tf.zeros_like(self.frozen[0].value))


@planted("decayed", "too many: ", optimizers=("SGD", "Adam", "RMSprop"))
class DecayedByHand(Training):
    """A share of a variable added to its gradient."""

    def treat(self, gradients: Gradients) -> Gradients:
        first, *others = gradients
        return super().treat([first + 0.01 * self.watched()[0].value, *others])


# -- weight decay ----------------------------------------------------------------------------------


@planted("decayed", "too many: ", optimizers=("AdamW",))
class DecayOfAll(Training):
    """Weight decay on biases, too."""

    def not_decayed(self) -> list[Any]:
        return []

    def expected(self) -> dict[str, Any]:
        spared = {id(variable) for variable in Training.not_decayed(self)}
        kernels = [variable for variable in self.trained if id(variable) not in spared]
        return {**super().expected(), "decayed": kernels}


@planted("decayed", "missing: ", optimizers=("AdamW",))
class NoDecay(Training):
    """No weight decay on one kernel."""

    def not_decayed(self) -> list[Any]:
        return [*super().not_decayed(), *(variable for variable, _ in self.sample.regularised[:1])]

    def expected(self) -> dict[str, Any]:
        spared = {id(variable) for variable in Training.not_decayed(self)}
        kernels = [variable for variable in self.trained if id(variable) not in spared]
        return {**super().expected(), "decayed": kernels}


@planted("decayed", "too many: ", optimizers=("SGD", "Adam", "RMSprop"))
class DecayByHand(Training):
    """Weight decay by hand, where there should be none."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        for variable in variables:
            variable.assign_sub(0.001 * variable.value)
        super().apply(gradients, variables)
