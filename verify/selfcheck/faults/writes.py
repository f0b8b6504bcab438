"""Faults in what else a step writes: what it should leave alone, statistics, averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import Sample
from verify.selfcheck.training import Gradients, Training

# -- what is left alone ----------------------------------------------------------------------------


class LeavesAlone(Training):
    """What is frozen is asked to be left alone, with a table that is only read."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.table = keras.Variable(tf.ones(3), trainable=False, name="table")

    def measure(self, y: Any, prediction: Any) -> None:
        super().measure(y, prediction * self.table.value)

    def expected(self) -> dict[str, Any]:
        return {**super().expected(), "unchanged": [*self.frozen, self.table]}


@planted("unchanged", "table is written by")
class WritesATable(LeavesAlone):
    """A table that should only be read, overwritten."""

    def measure(self, y: Any, prediction: Any) -> None:
        super().measure(y, prediction)
        self.table.assign(tf.reduce_mean(tf.abs(prediction), axis=0))


@planted("unchanged", "is written by", also=("unwatched",))
class ResetsWhatIsFrozen(LeavesAlone):
    """A frozen variable, reset in a branch that is seldom taken."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients, variables)

        def reset() -> Any:
            self.frozen[0].assign(tf.zeros_like(self.frozen[0].value))
            return 0

        tf.cond(self.scale < 0.0, reset, lambda: 0)


# -- moving statistics -----------------------------------------------------------------------------


class Averages(Training):
    """Keeps a moving average of what the model predicts."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.mean = keras.Variable(tf.zeros(3), trainable=False, name="mean_prediction")
        self.seen = keras.Variable(tf.zeros(3), trainable=False, name="seen")

    def average(self, mean: Any) -> None:
        self.mean.assign(0.9 * self.mean.value + 0.1 * mean)

    def measure(self, y: Any, prediction: Any) -> None:
        super().measure(y, prediction)
        mean = tf.reduce_mean(prediction, axis=0)
        self.seen.assign_add(mean)
        self.average(mean)

    def expected(self) -> dict[str, Any]:
        normal = [v for v in self.model.non_trainable_variables if "moving" in v.path]
        return {**super().expected(), "statistics": [self.mean, *normal]}


@planted("statistics", "not moved: mean_prediction")
class NeverAverages(Averages):
    """A moving average that is never moved."""

    def average(self, mean: Any) -> None:
        pass


@planted("statistics", "which is not a mixture of its old value and data")
class AddsUp(Averages):
    """A moving average that forgets nothing."""

    def average(self, mean: Any) -> None:
        self.mean.assign_add(0.1 * mean)


@planted(
    "statistics", "not moved: .*/moving_mean", but=("dense", "recurrent", "attention", "arithmetic")
)
class Infers(Averages):
    """The model called in inference mode."""

    def predict(self, x: Any) -> Any:
        return self.model(x, training=False)


# -- averages of weights ---------------------------------------------------------------------------


class Followed(Training):
    """Keeps a moving average of each trained variable."""

    rate = 0.01

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.averages = [
            keras.Variable(v.numpy(), trainable=False, name=f"average_{i}")
            for i, v in enumerate(self.trained)
        ]

    def follow(self, average: Any, variable: Any) -> None:
        average.assign_sub(self.rate * (average.value - variable.value))

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients, variables)
        for average, variable in zip(self.averages, self.trained, strict=True):
            self.follow(average, variable)

    def expected(self) -> dict[str, Any]:
        return {**super().expected(), "follows": [(self.averages, (self.trained, 0.01))]}


@planted("follows", "at 0.1, expected 0.01")
class FollowsSooner(Followed):
    """Averages that follow ten times as fast."""

    rate = 0.1


@planted("follows", "at 0.99, expected 0.01")
class RatesExchanged(Followed):
    """Averages that keep what they should take."""

    rate = 0.99


@planted("follows", "which do not add up to 1")
class NoFullSum(Followed):
    """Averages whose factors do not add up to one."""

    def follow(self, average: Any, variable: Any) -> None:
        average.assign(0.9 * average.value + 0.01 * variable.value)


@planted("follows", "average_0 is not written")
class OneIsLeftBehind(Followed):
    """One of the averages that is not moved."""

    def follow(self, average: Any, variable: Any) -> None:
        if average is not self.averages[0]:
            super().follow(average, variable)


@planted("follows", "they are exchanged", also=("watched", "regularization", "decayed"))
class FollowsBackwards(Followed):
    """Weights that follow their averages."""

    def follow(self, average: Any, variable: Any) -> None:
        super().follow(variable, average)
