"""Faults of control, of forgotten ops, and those that only a correct step can tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import Sample
from verify.selfcheck.training import Gradients, Guarded, Training

_BRANCHES = ("loss", "regularization", "watched", "clipping", "decayed")


# -- control ---------------------------------------------------------------------------------------


@planted("guards", r"guards\['flag': True\] loss", also=_BRANCHES)
class SwappedBranches(Guarded):
    """Branches exchanged."""

    def on(self, x: Any, y: Any) -> Any:
        return super().off(x, y)

    def off(self, x: Any, y: Any) -> Any:
        return super().on(x, y)


@planted("guards", r"guards\['flag': False\] loss", also=_BRANCHES)
class InvertedCondition(Guarded):
    """The condition inverted."""

    def condition(self) -> Any:
        return tf.logical_not(self.flag)


@planted("guards", "a frozen Python value")
class FrozenFlag(Guarded):
    """The flag's value, read while tracing."""

    def condition(self) -> Any:
        return tf.constant(True)


@planted("guards", "its value was frozen while tracing")
class PythonBranch(Guarded):
    """A Python branch, taken while tracing."""

    def step(self, x: Any, y: Any) -> Any:
        return self.on(x, y)


@planted("guards", "is chosen by other")
class AnotherFlag(Guarded):
    """Another variable chooses."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.other = tf.Variable(True, trainable=False, name="other")

    def condition(self) -> Any:
        return tf.identity(self.other)


@planted("guards", r"guards\['flag': False\] loss", also=_BRANCHES)
class SameBranches(Guarded):
    """The same in both branches."""

    def off(self, x: Any, y: Any) -> Any:
        return super().on(x, y)


@planted("guards", r"guards\['flag': False\] watched", also=_BRANCHES)
class EmptyBranch(Guarded):
    """A branch that trains nothing."""

    def off(self, x: Any, y: Any) -> Any:
        return self.data_loss(y, self.predict(x))


@planted("guards", r"guards\['flag': False\] clipping", also=_BRANCHES)
class OneBranchUnclipped(Guarded):
    """One branch does not clip."""

    def off(self, x: Any, y: Any) -> Any:
        treat, self.treat = self.treat, lambda gradients: gradients  # type: ignore[method-assign]
        result = super().off(x, y)
        self.treat = treat  # type: ignore[method-assign]
        return result


@planted("guards", "depends on something else as well|loss", also=_BRANCHES)
class DataDecide(Guarded):
    """Data decide as well."""

    def condition(self) -> Any:
        return tf.logical_and(self.flag, self.first > 0)

    def step(self, x: Any, y: Any) -> Any:
        self.first = y[0, 0]
        return super().step(x, y)


# -- forgotten -------------------------------------------------------------------------------------


@planted("forbids", "PrintV2 at")
class Print(Training):
    """A print that was left in."""

    def measure(self, y: Any, prediction: Any) -> None:
        tf.print(tf.reduce_mean(prediction))
        super().measure(y, prediction)


@planted("forbids", "PyFunc at")
class Callback(Training):
    """A call of Python for each step."""

    def measure(self, y: Any, prediction: Any) -> None:
        tf.py_function(lambda value: None, [prediction], [])
        super().measure(y, prediction)


@planted("forbids", "RandomStandardNormal at", also=("loss",))
class Noise(Training):
    """Noise on the inputs that differs from run to run."""

    def predict(self, x: Any) -> Any:
        return super().predict(x + tf.random.normal(x.shape))


# -- what only a correct step can tell -------------------------------------------------------------


@planted("same step", "mean_absolute_error")
class NoMetric(Training):
    """The metric is not updated."""

    def measure(self, y: Any, prediction: Any) -> None:
        return None


@planted("same step", "mean_absolute_error")
class MetricTwice(Training):
    """The metric is updated twice."""

    def measure(self, y: Any, prediction: Any) -> None:
        super().measure(y, prediction)
        super().measure(y, prediction)


@planted("same step", "first difference")
class MetricOfAnother(Training):
    """The metric of another prediction."""

    def measure(self, y: Any, prediction: Any) -> None:
        super().measure(y, 2.0 * prediction)


@planted("same step", "first difference")
class StaleRead(Training):
    """The metric of what the model predicts after its update."""

    def step(self, x: Any, y: Any) -> Any:
        self.x = x
        return super().step(x, y)

    def measure(self, y: Any, prediction: Any) -> None:
        super().measure(y, self.model(self.x, training=False))


@planted("same step", "first difference")
class ScaledGradients(Training):
    """Gradients times a half, after they are clipped."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [0.5 * g for g in super().treat(gradients)]


@planted("same step", "first difference")
class AscentAfterAll(Training):
    """Gradients with the wrong sign."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [-g for g in super().treat(gradients)]


@planted("same step", "iteration|first difference")
class SkippedIteration(Training):
    """The optimizer's step is counted twice."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients, variables)
        self.optimizer.iterations.assign_add(1)


@planted("same step", "learning_rate|first difference")
class AnotherRate(Training):
    """The learning rate changes by itself."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients, variables)
        self.optimizer.learning_rate.assign(0.9 * self.optimizer.learning_rate.value)


@planted("same step", "first difference")
class HalfOfTheInput(Training):
    """Inputs divided by two."""

    def predict(self, x: Any) -> Any:
        return super().predict(0.5 * x)


@planted("same step", "first difference")
class BentPrediction(Training):
    """The loss of something else that is made of the prediction."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(y, tf.nn.relu(prediction) + 0.1)
