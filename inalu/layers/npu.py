"""The neural power unit (NPU) and its real form, of one paper."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from inalu.layers.base import InitializedLayer, WeightSpec
from inalu.units import Unit

# Added to |x| before its logarithm is taken: float32's distance from 1 to the next number.
EPSILON = float(np.finfo(np.float32).eps)


class _Power(InitializedLayer):
    """What both units have: real exponents and a gate for each input."""

    def _default(self, features: int) -> Any:
        return keras.initializers.GlorotUniform()

    def _weight_specs(self, features: int) -> list[WeightSpec]:
        return [
            WeightSpec("w_r", (features, self.units), self._initial(features)),
            WeightSpec("g", (features,), keras.initializers.Constant(0.5)),
        ]

    def _penalty(self, **weights: Any) -> Any:
        sizes = [ops.sum(ops.abs(weight)) for weight in weights.values()]
        return sum(sizes[1:], sizes[0])

    def discrete(self) -> tuple[Unit, ...]:
        """The layer rounded: exponents to halves; inputs that the gate shuts off are ignored."""
        values = self._values()
        gate = np.clip(values["g"], 0.0, 1.0)
        imaginary = np.abs(values.get("w_i", np.zeros_like(values["w_r"])))
        return tuple(
            _unit(gate, values["w_r"][:, output], imaginary[:, output])
            for output in range(self.units)
        )


@keras.saving.register_keras_serializable(package="inalu")
class NPU(_Power):
    """Dense layer that learns products of powers of its inputs, the real part of complex ones.

    For input x of I features and output o::

        g_i = min(max(G_i, 0), 1)
        r_i = g_i (|x_i| + epsilon) + 1 - g_i
        k_i = g_i pi where x_i < 0, else 0
        y_o = exp(sum_i ln(r_i) W_r[i, o] - sum_i k_i W_i[i, o])
              * cos(sum_i k_i W_r[i, o] + sum_i ln(r_i) W_i[i, o])
        R   = sum |W_r| + sum |W_i| + sum |G|

    R is the regulariser. exp overflows where its argument is above 88 (float32). The gate has no
    gradient outside of [0, 1]; the authors' own code passes the gradient through there.

    Args:
        units: O, the number of outputs, at least 1.
        initializer: initial values of `w_r`: whatever `keras.initializers.get` takes, Glorot's
            uniform ones by default; those of `w_i` are 0 and those of `g` 1/2.
        **kwargs: see `ArithmeticLayer`; in the paper `strength` is a `staircase`.

    Attributes:
        w_r, w_i: (I, O) float variables.
        g: (I,) float variable, G.

    Raises:
        ValueError: units is out of range.

    Source: Heim, Pevný and Šmídl, "Neural Power Units", 2020; section 2.4.2 of the thesis.
    """

    def _weight_specs(self, features: int) -> list[WeightSpec]:
        real, gate = super()._weight_specs(features)
        return [real, WeightSpec("w_i", real.shape, keras.initializers.Zeros()), gate]

    def _outputs(self, x: Any, *, w_r: Any, w_i: Any, g: Any) -> Any:
        logarithm, angle = _polar(x, g)
        size = ops.matmul(logarithm, w_r) - ops.matmul(angle, w_i)
        turned = ops.matmul(angle, w_r) + ops.matmul(logarithm, w_i)
        return ops.exp(size) * ops.cos(turned)


@keras.saving.register_keras_serializable(package="inalu")
class RealNPU(_Power):
    """Dense layer that learns products of powers of its inputs: an `NPU` without W_i.

    ::

        y_o = exp(sum_i ln(r_i) W_r[i, o]) * cos(sum_i k_i W_r[i, o])
        R   = sum |W_r| + sum |G|

    Args:
        units: O, the number of outputs, at least 1.
        initializer: initial values of `w_r`: whatever `keras.initializers.get` takes, Glorot's
            uniform ones by default; those of `g` are 1/2.
        **kwargs: see `ArithmeticLayer`; in the paper `strength` is a `staircase`.

    Attributes:
        w_r: (I, O) float variable.
        g: (I,) float variable, G.

    Raises:
        ValueError: units is out of range.

    Source: Heim, Pevný and Šmídl, "Neural Power Units", 2020; section 2.4.2 of the thesis.
    """

    def _outputs(self, x: Any, *, w_r: Any, g: Any) -> Any:
        logarithm, angle = _polar(x, g)
        return ops.exp(ops.matmul(logarithm, w_r)) * ops.cos(ops.matmul(angle, w_r))


def _polar(x: Any, g: Any) -> tuple[Any, Any]:
    """ln(r) and k, both (..., I)."""
    gate = ops.clip(g, 0.0, 1.0)
    size = gate * (ops.abs(x) + EPSILON) + (1.0 - gate)
    return ops.log(size), gate * ops.cast(x < 0.0, x.dtype) * math.pi


def _unit(gate: npt.NDArray[Any], real: npt.NDArray[Any], imaginary: npt.NDArray[Any]) -> Unit:
    """One output, from the gates, exponents and imaginary exponents of its inputs, each (I,)."""
    halves = np.rint(2 * real)
    used = (gate >= 0.5) & (halves != 0)
    # Shut off, an input has no say if either its gate or its exponents are zero.
    off = np.minimum(gate, np.maximum(np.abs(real), imaginary))
    on = np.maximum(1 - gate, np.maximum(np.abs(real - halves / 2), imaginary))
    weights = tuple(Fraction(int(h), 2) if u else 0 for h, u in zip(halves, used, strict=True))
    return Unit("*", weights, float(np.max(np.where(used, on, off))))
