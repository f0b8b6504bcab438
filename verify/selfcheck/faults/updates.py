"""Faults in how variables are updated: the optimizer, its rate, what comes before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import OPTIMIZERS, Sample
from verify.selfcheck.training import Gradients, Training


def _with(optimizer: keras.optimizers.Optimizer, **settings: Any) -> keras.optimizers.Optimizer:
    """The same optimizer with other settings."""
    made: keras.optimizers.Optimizer = type(optimizer).from_config(
        {**optimizer.get_config(), **settings}
    )
    return made


class Optimized(Training):
    """What updates the variables is asked for as well."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.wanted = OPTIMIZERS[optimizer]()
        if self.wanted.weight_decay is not None:
            self.wanted.exclude_from_weight_decay(self.not_decayed())

    def expected(self) -> dict[str, Any]:
        return {**super().expected(), "optimizer": self.wanted}


class Rated(Training):
    """The rate is asked for as well."""

    def expected(self) -> dict[str, Any]:
        return {**super().expected(), "learning_rate": 0.1}


# -- the optimizer ---------------------------------------------------------------------------------


@planted("optimizer", "learning_rate is 1, expected 0.1")
class TenTimesTheRate(Optimized):
    """Ten times the rate."""

    def made(self, optimizer: str) -> keras.optimizers.Optimizer:
        return _with(super().made(optimizer), learning_rate=1.0)


@planted("optimizer", "found +Nadam")
class AnotherOptimizer(Optimized):
    """Another optimizer."""

    def made(self, optimizer: str) -> keras.optimizers.Optimizer:
        return keras.optimizers.Nadam(0.1)


@planted("optimizer", "beta_1 is 0.5, expected 0.9", optimizers=("Adam", "AdamW"))
class ForgetsSooner(Optimized):
    """Another decay of the first moment."""

    def made(self, optimizer: str) -> keras.optimizers.Optimizer:
        return _with(super().made(optimizer), beta_1=0.5)


@planted("optimizer", "momentum is 0, expected 0.9", optimizers=("SGD",))
class NoMomentum(Optimized):
    """No momentum."""

    def made(self, optimizer: str) -> keras.optimizers.Optimizer:
        return _with(super().made(optimizer), momentum=0.0)


@planted("optimizer", "found +SGD", also=("clipping",))
class PlainForOne(Optimized):
    """One of the variables moved by the sign of its gradient."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients[1:], variables[1:])
        if self.decayed and variables[0] is self.decayed[0]:
            variables[0].assign_sub(0.001 * variables[0].value)
        variables[0].assign_sub(0.1 * tf.sign(gradients[0]))


@planted("learning_rate", "learning_rate=0.01")
class ATenthOfTheRate(Rated):
    """A tenth of the rate."""

    def made(self, optimizer: str) -> keras.optimizers.Optimizer:
        return _with(super().made(optimizer), learning_rate=0.01)


@planted("learning_rate", "ExponentialDecay")
class ScheduledRate(Rated):
    """A rate that decays, where it should stay."""

    def made(self, optimizer: str) -> keras.optimizers.Optimizer:
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
        return _with(super().made(optimizer), learning_rate=schedule)


@planted("optimizer", "of the opposite of each gradient", also=("loss", "clipping"))
class GoesUphill(Optimized):
    """The opposite of each gradient."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [-gradient for gradient in super().treat(gradients)]


# -- between clip and optimizer --------------------------------------------------------------------


@planted("clipping", "changed after the clip", also=("loss",))
class Squared(Training):
    """Squared after the clip."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [tf.square(g) for g in super().treat(gradients)]


@planted("clipping", "changed after the clip")
class Renormalised(Training):
    """Divided by its norm after the clip."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [g / (tf.norm(g) + 1e-6) for g in super().treat(gradients)]


@planted("clipping", r"clipped to \[-10, 10\]", also=("loss",))
class MultipliedAfter(Training):
    """Multiplied after the clip."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [100.0 * g for g in super().treat(gradients)]


@planted("clipping", r"clipped to \[-0\.05, 0\.05\]")
class TighterAfter(Training):
    """A tighter clip after the clip."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [tf.clip_by_value(g, -0.05, 0.05) for g in super().treat(gradients)]


@planted("clipping", "limited, but not by a known clip")
class Squashed(Training):
    """Squashed instead of clipped."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [0.1 * tf.tanh(10.0 * g) for g in gradients]


@planted("loss", "multiplied by 0.000976562 before the optimizer")
class DividedForNothing(Training):
    """Divided by a loss scale of Python's that multiplied no loss."""

    def gradients(self, tape: tf.GradientTape, total: Any) -> Gradients:
        return [g / 1024.0 for g in super().gradients(tape, total)]


@planted("loss", "multiplied by -1 before the optimizer")
class Ascends(Training):
    """Gradients negated: the loss is made greater."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [-g for g in super().treat(gradients)]


# -- after the optimizer ---------------------------------------------------------------------------


@planted("watched", "sets the variable to something else", also=("regularization", "decayed"))
class SetBack(Training):
    """A variable set back to what it was."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        before = tf.identity(variables[0].value)
        super().apply(gradients, variables)
        variables[0].assign(before)


@planted("watched", "a constant always chooses another branch", also=("regularization", "decayed"))
class NeverMade(Training):
    """An update in a branch that a frozen Python value never chooses."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients[1:], variables[1:])

        def update() -> Any:
            variables[0].assign_sub(0.1 * gradients[0])
            return 0

        tf.cond(tf.constant(False), update, lambda: 0)


@planted("decayed", "grows by a share of itself", optimizers=("AdamW",))
class Grows(Training):
    """A variable that grows by the share that it should shrink by."""

    def not_decayed(self) -> list[Any]:
        kernels = [variable for variable, _ in self.sample.regularised[:1]]
        return [*super().not_decayed(), *kernels]

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        kernel, _ = self.sample.regularised[0]
        kernel.assign_add(0.001 * kernel.value)
        super().apply(gradients, variables)

    def expected(self) -> dict[str, Any]:
        spared = {id(variable) for variable in Training.not_decayed(self)}
        kernels = [variable for variable in self.trained if id(variable) not in spared]
        return {**super().expected(), "decayed": kernels}


# -- gradients of others ---------------------------------------------------------------------------


@planted(
    "watched",
    "is updated by that of",
    also=("regularization",),
    but=("convolutional", "attention", "arithmetic"),
)
class Exchanged(Training):
    """Two variables of one shape updated by each other's gradients."""

    def treat(self, gradients: Gradients) -> Gradients:
        treated = super().treat(gradients)
        alike = [
            (i, j)
            for i in range(len(treated))
            for j in range(i)
            if treated[i].shape == treated[j].shape
        ]
        i, j = alike[0]
        treated[i], treated[j] = treated[j], treated[i]
        return treated


@planted("loss", "is computed from no value of the batch")
class OnZeros(Training):
    """The model called on zeros."""

    def predict(self, x: Any) -> Any:
        return super().predict(tf.zeros_like(x))


@planted("loss", "does not follow its gradient", also=("clipping",))
class Rectified(Training):
    """The sizes of gradients without their signs."""

    def treat(self, gradients: Gradients) -> Gradients:
        return super().treat([tf.abs(g) for g in gradients])
