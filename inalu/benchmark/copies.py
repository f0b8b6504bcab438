"""Training many copies at once: what has to be per copy and in Keras is per batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from inalu.layers.ensemble import Ensemble


def errors(y_true: Any, y_pred: Any) -> Any:
    """Each copy's mean squared error: (C,) of tensors (C, batch, O)."""
    return ops.mean(ops.square(y_pred - y_true), axis=(1, 2))


class SumOfErrors(keras.losses.Loss):
    """The sum over copies of their mean squared errors: no copy's gradient knows of another."""

    def __init__(self) -> None:
        super().__init__(name="sum_of_errors", reduction="sum")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return errors(y_true, y_pred)


class CopyLosses(keras.metrics.Metric):
    """Keeps each copy's loss of the last train steps; its result is the last step's mean.

    Args:
        ensemble: built; its `active` copies become those whose last loss is below a bound, if one
            is given.
        steps: S, how many are kept.
        below: the bound.

    Attributes:
        losses: (S, C) variable, in the order of train steps modulo S.
    """

    def __init__(self, ensemble: Ensemble, steps: int, below: float | None = None) -> None:
        super().__init__(name="copies")
        self._active: Callable[[], Any] = lambda: ensemble.active
        self.below = below
        self.losses = self.add_variable(
            shape=(steps, ensemble.copies), initializer="zeros", name="losses"
        )
        self.at = self.add_variable(shape=(), initializer="zeros", name="at", dtype="int32")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        last = errors(y_true, y_pred)
        at = ops.convert_to_tensor(self.at)
        # In place: Keras' own update would copy all losses in every step.
        self.losses.value.scatter_nd_update(ops.reshape(at, (1, 1)), ops.expand_dims(last, 0))
        self.at.assign((at + 1) % self.losses.shape[0])
        if self.below is not None:
            self._active().assign(ops.cast(last < self.below, "float32"))

    def result(self) -> Any:
        return ops.mean(self.losses[self.at - 1])

    def reset_state(self) -> None:
        """Keep everything: an epoch's end means nothing here."""


class CopywiseRMSprop(keras.optimizers.Optimizer):
    """RMSprop that leaves a copy alone, its averages too, in a step that gives it no gradient.

    As if there had been no step for it, where a branch is for some copies only.

    Args:
        learning_rate: as Keras has it.
        rho: share of the average that is kept in a step.
        epsilon: added to the average under the root. The default is TensorFlow 1's.
    """

    def __init__(
        self, learning_rate: float = 0.01, rho: float = 0.9, epsilon: float = 1e-10
    ) -> None:
        super().__init__(learning_rate=learning_rate, name="copywise_rmsprop")
        self.rho, self.epsilon = rho, epsilon

    def build(self, variables: Any) -> None:
        """Makes an average for each variable."""
        if self.built:
            return
        super().build(variables)
        # By handle, since updates are handed the variable inside Keras' own.
        self._averages = {
            id(v.handle): self.add_variable_from_reference(v, "average") for v in variables
        }

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates the copies, along the variable's first axis, that have a gradient."""
        average = self._averages[id(variable.handle)]
        given = ops.any(ops.reshape(gradient, (gradient.shape[0], -1)) != 0.0, axis=1)
        given = ops.reshape(given, (-1, *[1] * (len(variable.shape) - 1)))
        updated = self.rho * average + (1.0 - self.rho) * ops.square(gradient)
        average.assign(ops.where(given, updated, average))
        step = ops.cast(learning_rate, gradient.dtype) * gradient / ops.sqrt(updated + self.epsilon)
        variable.assign_sub(ops.where(given, step, ops.zeros_like(step)))


def median(values: npt.NDArray[Any]) -> float:
    """The median, with what is not a number as the largest."""
    return float(np.median(np.where(np.isnan(values), np.inf, values)))


def stuck(losses: npt.NDArray[Any]) -> bool:
    """Whether a copy with these losses since it was last drawn, (n,), should start afresh.

    That is, if the mean of the first half is at most that of the second half plus its standard
    deviation, and the latter mean is above 1.

    Source: the scripts of iNALU's authors, and NALM's.
    """
    first, second = np.array_split(losses, 2)
    limit = second.mean() + second.std()
    return bool(first.mean() <= limit and second.mean() > 1)


def model_of(ensemble: Ensemble, batch_size: int, features: int = 2) -> Any:
    """A model of the ensemble alone, for inputs (C, batch_size, features), built."""
    shape = (ensemble.copies, batch_size, features)
    return keras.Sequential([keras.layers.Input(batch_shape=shape), ensemble])


def measured(model: Any, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Each copy's mean squared error, (C,), on samples (C, n, features) and (C, n, O)."""
    predicted = np.asarray(model(x, training=False), np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        result: npt.NDArray[np.float64] = np.mean(np.square(predicted - y), axis=(1, 2))
    return result
