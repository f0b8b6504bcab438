"""The neural addition unit (NAU) and the neural multiplication unit (NMU), of one paper."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from inalu.layers.base import Between, InitializedLayer, WeightSpec, product, rounded
from inalu.units import Unit


class _Linear(InitializedLayer):
    """What both units have: one matrix, clipped to a range of whole numbers."""

    lower: float
    upper = 1.0
    operation: str

    def _weight_specs(self, features: int) -> list[WeightSpec]:
        kept = Between(self.lower, self.upper)
        return [WeightSpec("w", (features, self.units), self._initial(features), kept)]

    def discrete(self) -> tuple[Unit, ...]:
        """The layer rounded."""
        weights = np.clip(self._values()["w"], self.lower, self.upper)
        return tuple(Unit(self.operation, *column) for column in rounded(weights))


@keras.saving.register_keras_serializable(package="inalu")
class NAU(_Linear):
    """Dense layer that learns sums and differences of its inputs.

    For input x of I features and output o::

        W   = min(max(w, -1), 1)
        y_o = sum_i x_i W[i, o]
        R   = mean(min(|W|, |1 - |W||))

    R is the regulariser. After every update w is moved to the nearer of -1 and 1 if it left the
    range, lest it stay where it has no gradient.

    Args:
        units: O, the number of outputs, at least 1.
        initializer: initial values of `w`: whatever `keras.initializers.get` takes. By default
            U(-r, r) with r = min(1/2, sqrt(6 / (I + O))).
        **kwargs: see `ArithmeticLayer`; in the paper `strength` is a `Ramp`.

    Attributes:
        w: (I, O) float variable.

    Raises:
        ValueError: units is out of range.

    Source: Madsen and Johansen, "Neural Arithmetic Units", 2020; section 2.4.1 of the thesis.
    """

    lower, operation = -1.0, "+"

    def _default(self, features: int) -> Any:
        bound = min(0.5, math.sqrt(6.0 / (features + self.units)))
        return keras.initializers.RandomUniform(-bound, bound)

    def _penalty(self, *, w: Any) -> Any:
        size = ops.abs(ops.clip(w, self.lower, self.upper))
        return ops.mean(ops.minimum(size, ops.abs(1.0 - size)))

    def _outputs(self, x: Any, *, w: Any) -> Any:
        return ops.matmul(x, ops.clip(w, self.lower, self.upper))


@keras.saving.register_keras_serializable(package="inalu")
class NMU(_Linear):
    """Dense layer that learns products of its inputs.

    For input x of I features and output o::

        W   = min(max(w, 0), 1)
        y_o = prod_i (W[i, o] x_i + 1 - W[i, o])
        R   = mean(min(W, 1 - W))

    R is the regulariser. After every update w is moved to the nearer of 0 and 1 if it left the
    range, lest it stay where it has no gradient.

    Args:
        units: O, the number of outputs, at least 1.
        initializer: initial values of `w`: whatever `keras.initializers.get` takes. U(1/4, 3/4) by
            default.
        **kwargs: see `ArithmeticLayer`; in the paper `strength` is a `Ramp`.

    Attributes:
        w: (I, O) float variable.

    Raises:
        ValueError: units is out of range.

    Source: Madsen and Johansen, "Neural Arithmetic Units", 2020; section 2.4.1 of the thesis.
    """

    lower, operation = 0.0, "*"

    def _default(self, features: int) -> Any:
        return keras.initializers.RandomUniform(0.25, 0.75)

    def _penalty(self, *, w: Any) -> Any:
        size = ops.clip(w, self.lower, self.upper)
        return ops.mean(ops.minimum(size, 1.0 - size))

    def _outputs(self, x: Any, *, w: Any) -> Any:
        weights = ops.clip(w, self.lower, self.upper)
        return product(ops.expand_dims(x, -1) * weights + (1.0 - weights))
