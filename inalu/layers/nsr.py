"""The neural status register (NSR)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from inalu.layers.base import ArithmeticLayer, WeightSpec, sigmoid
from inalu.units import Unit

# What holds if the left side is below, equal to, and above the right one.
_RELATIONS = {
    (False, False, False): "never",
    (True, False, False): "<",
    (False, True, False): "==",
    (False, False, True): ">",
    (True, True, False): "<=",
    (False, True, True): ">=",
    (True, False, True): "!=",
    (True, True, True): "always",
}


@keras.saving.register_keras_serializable(package="inalu")
class NSR(ArithmeticLayer):
    """Layer that learns which two of its inputs to compare, and how.

    For input x of I features and register u::

        d_u    = sum_i x_i softmax_i(V1[i, u]) - sum_i x_i softmax_i(V2[i, u])
        sign_u = tanh(zeta d_u)
        zero_u = 1 - 2 tanh(zeta d_u)^2
        y_u    = sigmoid(b_u + w_s,u sign_u + w_z,u zero_u)

    The outputs are y of all registers, then 1 - y of all: whether a comparison holds, and whether
    it does not. Where zeta d is small, they are in between. The paper has no regulariser.

    Args:
        units: U, the number of registers, at least 1.
        scale: zeta: the larger, the smaller the differences that are told apart.
        **kwargs: see `ArithmeticLayer`.

    Attributes:
        v_left, v_right: (I, U) float variables, V1 and V2, with Glorot's normal initial values.
        w_sign, w_zero, b: (U,) float variables; initially N(0, 1), N(0, 1) and 0.

    Output shape: (..., 2 U).

    Raises:
        ValueError: units or scale is out of range.

    Source: Faber and Wattenhofer, "Neural Status Registers", 2020, and the authors' code; section
    2.4.4 of the thesis.
    """

    def __init__(self, units: int, *, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"NSR: scale is {scale!r}, expected a number above 0.")
        self.scale = float(scale)

    def _weight_specs(self, features: int) -> list[WeightSpec]:
        # Glorot's for one register of two operands each, whatever the number of registers.
        normal = keras.initializers.RandomNormal(0.0, math.sqrt(2.0 / (features + 1)))
        unit = keras.initializers.RandomNormal(0.0, 1.0)
        matrix, vector = (features, self.units), (self.units,)
        return [
            WeightSpec("v_left", matrix, normal),
            WeightSpec("v_right", matrix, normal),
            WeightSpec("w_sign", vector, unit),
            WeightSpec("w_zero", vector, unit),
            WeightSpec("b", vector, keras.initializers.Zeros()),
        ]

    def _outputs(
        self, x: Any, *, v_left: Any, v_right: Any, w_sign: Any, w_zero: Any, b: Any
    ) -> Any:
        left, right = ops.softmax(v_left, axis=0), ops.softmax(v_right, axis=0)
        sign = ops.tanh(self.scale * (ops.matmul(x, left) - ops.matmul(x, right)))
        holds = ops.sigmoid(b + w_sign * sign + w_zero * (1.0 - 2.0 * ops.square(sign)))
        return ops.concatenate([holds, 1.0 - holds], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 2 * self.units)

    def discrete(self) -> tuple[Unit, ...]:
        """The layer rounded: the comparison that each register makes, and its opposite."""
        values = self._values()
        left, right = _softmax(values["v_left"]), _softmax(values["v_right"])
        # Of a difference below zero, of none, and of one above zero: sign and zero are then whole.
        signs, zeros = np.array([[-1.0], [0.0], [1.0]]), np.array([[-1.0], [1.0], [-1.0]])
        chances = sigmoid(values["b"] + values["w_sign"] * signs + values["w_zero"] * zeros)
        units: list[Unit] = []
        for negated in (False, True):
            for u in range(self.units):
                chance = 1 - chances[:, u] if negated else chances[:, u]
                units.append(_unit(left[:, u], right[:, u], chance))
        return tuple(units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


def _softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Over the first axis."""
    powers = np.exp(values - values.max(axis=0))
    result: npt.NDArray[np.float64] = powers / powers.sum(axis=0)
    return result


def _unit(left: npt.NDArray[Any], right: npt.NDArray[Any], chances: npt.NDArray[Any]) -> Unit:
    """One output: shares of inputs in both operands (I,), and chances (3,) of <, == and >."""
    operands = int(left.argmax()), int(right.argmax())
    below, equal, above = (bool(chance >= 0.5) for chance in chances)
    operation = _RELATIONS[below, equal, above]
    weights = np.zeros(len(left), int)
    if operands[0] == operands[1]:  # compared with itself
        operation, chances = ("always" if chances[1] >= 0.5 else "never"), chances[1:2]
    if operation in ("always", "never"):
        distance = 0.0
    else:
        weights[operands[0]], weights[operands[1]] = 1, -1
        distance = max(1 - left.max(), 1 - right.max())
    rounding = float(np.max(np.minimum(chances, 1 - chances)))
    return Unit(operation, tuple(weights.tolist()), max(float(distance), rounding))
