"""The neural accumulator (NAC) and the first neural arithmetic logic unit, of one paper."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from inalu.layers.base import InitializedLayer, WeightSpec, rounded, sigmoid
from inalu.units import Unit

# Added to |x| before its logarithm is taken; the value is that of the benchmarks' ports.
EPSILON = 1e-7


class _Accumulator(InitializedLayer):
    """What both layers have: the weights of eq 2.1."""

    def _default(self, features: int) -> Any:
        bound = _bound(features + self.units)
        return keras.initializers.RandomUniform(-bound, bound)

    def _weight_specs(self, features: int) -> list[WeightSpec]:
        initializer, matrix = self._initial(features), (features, self.units)
        return [WeightSpec("w", matrix, initializer), WeightSpec("m", matrix, initializer)]

    def _effective(self) -> npt.NDArray[np.float64]:
        """The weights of eq 2.1, (I, O), for `discrete`."""
        values = self._values()
        effective: npt.NDArray[np.float64] = np.tanh(values["w"]) * sigmoid(values["m"])
        return effective


@keras.saving.register_keras_serializable(package="inalu")
class NAC(_Accumulator):
    """Dense layer that learns sums and differences of its inputs, or their products and quotients.

    For input x of I features and output o::

        W   = tanh(w) * sigmoid(m)                               (2.1)
        a_o = sum_i x_i W[i, o]                                  (2.2), operation "+"
        m_o = exp(sum_i ln(|x_i| + epsilon) W[i, o])             (2.3), operation "*"

    Products have no sign and no cap: exp overflows where the sum is above 88 (float32). The paper
    has no regulariser.

    Args:
        units: O, the number of outputs, at least 1.
        operation: "+" or "*".
        initializer: initial values of `w` and `m`: whatever `keras.initializers.get` takes. By
            default U(-r, r), with the r for which W has a variance of 2 / (I + O).
        **kwargs: see `ArithmeticLayer`.

    Attributes:
        w, m: (I, O) float variables.

    Raises:
        ValueError: operation or units is out of range.

    Source: section 2.2 of the thesis; Trask et al., "Neural Arithmetic Logic Units", 2018; initial
    values: Madsen and Johansen, "Neural Arithmetic Units", 2020.
    """

    def __init__(self, units: int, operation: str = "+", **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        if operation not in ("+", "*"):
            raise ValueError(f'NAC: operation is {operation!r}, expected "+" or "*".')
        self.operation = operation

    def _outputs(self, x: Any, *, w: Any, m: Any) -> Any:
        weights = ops.tanh(w) * ops.sigmoid(m)
        if self.operation == "+":
            return ops.matmul(x, weights)
        return _multiplied(x, weights)

    def discrete(self) -> tuple[Unit, ...]:
        """The layer rounded. A product's formula has the signs that the layer leaves out."""
        return tuple(Unit(self.operation, *column) for column in rounded(self._effective()))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "operation": self.operation}


@keras.saving.register_keras_serializable(package="inalu")
class OriginalNALU(_Accumulator):
    """Dense layer that adds or multiplies its inputs, whichever a gate says that sees them.

    For input x of I features and output o, with one set of weights for both paths::

        W   = tanh(w) * sigmoid(m)                               (2.1)
        a_o = sum_i x_i W[i, o]                                  (2.2)
        m_o = exp(sum_i ln(|x_i| + epsilon) W[i, o])             (2.3)
        g_o = sigmoid(sum_i x_i G[i, o])                         (2.4)
        y_o = g_o a_o + (1 - g_o) m_o                            (2.5)

    Products have no sign and no cap: exp overflows where the sum is above 88 (float32). The paper
    has no regulariser. `NALU` is the improved layer.

    Args:
        units: O, the number of outputs, at least 1.
        initializer: initial values of `w` and `m`: whatever `keras.initializers.get` takes. By
            default U(-r, r), with the r for which W has a variance of 2 / (I + O).
        g_initializer: of `G`; Glorot's uniform values by default.
        **kwargs: see `ArithmeticLayer`.

    Attributes:
        w, m: (I, O) float variables.
        g: (I, O) float variable, G.

    Raises:
        ValueError: units is out of range.

    Source: section 2.2 of the thesis, whose 2.4 has x_o for x_i; Trask et al., "Neural Arithmetic
    Logic Units", 2018; initial values: Madsen and Johansen, "Neural Arithmetic Units", 2020.
    """

    def __init__(self, units: int, *, g_initializer: Any = "glorot_uniform", **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.g_initializer = keras.initializers.get(g_initializer)

    def _weight_specs(self, features: int) -> list[WeightSpec]:
        gate = WeightSpec("g", (features, self.units), self.g_initializer)
        return [*super()._weight_specs(features), gate]

    def _outputs(self, x: Any, *, w: Any, m: Any, g: Any) -> Any:
        weights = ops.tanh(w) * ops.sigmoid(m)
        summed = ops.matmul(x, weights)
        gate = ops.sigmoid(ops.matmul(x, g))
        return gate * summed + (1.0 - gate) * _multiplied(x, weights)

    def discrete(self) -> tuple[Unit, ...]:
        """The layer rounded, with the gate as it is for inputs that are all one.

        A gate that depends on the input is never discrete: the distance is infinite.
        """
        gates = self._values()["g"].sum(axis=0)
        return tuple(
            Unit("+" if gate >= 0 else "*", weights, math.inf)
            for gate, (weights, _) in zip(gates, rounded(self._effective()), strict=True)
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "g_initializer": keras.initializers.serialize(self.g_initializer),
        }


def _multiplied(x: Any, weights: Any) -> Any:
    """Equation 2.3."""
    return ops.exp(ops.matmul(ops.log(ops.abs(x) + EPSILON), weights))


def _bound(fans: int) -> float:
    """The r with which tanh(U(-r, r)) * sigmoid(U(-r, r)) has a variance of 2 / fans.

    That is E[tanh^2] E[sigmoid^2], with E[tanh^2] = 1 - tanh(r) / r and E[sigmoid^2] =
    (r - tanh(r / 2)) / 2r, which grows with r to 1/2: below 5 fans are taken for 5.
    """
    wanted = 2.0 / max(fans, 5)
    low, high = 1e-3, 100.0
    for _ in range(60):
        r = (low + high) / 2
        variance = (1 - math.tanh(r) / r) * (r - math.tanh(r / 2)) / (2 * r)
        low, high = (r, high) if variance < wanted else (low, r)
    return low
