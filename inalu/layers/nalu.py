"""The improved neural arithmetic logic unit (iNALU)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from inalu.layers.base import ArithmeticLayer, WeightSpec, product, rounded, sigmoid
from inalu.units import Unit

# ln(x) is taken of nothing smaller than this; the value is the authors'.
EPSILON = 1e-7
# The largest exponents whose exp is finite, with room for the sign and the gate.
_MAX_CLIPPING = {"float32": 88.0, "float64": 709.0}


def normal_values(
    w: tuple[float, float], m: tuple[float, float], g: tuple[float, float]
) -> dict[str, Any]:
    """Normal initial values, as arguments of `NALU`; each of a mean and a standard deviation."""
    normal = keras.initializers.RandomNormal
    return {"w_initializer": normal(*w), "m_initializer": normal(*m), "g_initializer": normal(*g)}


LAYER_DEFAULTS = normal_values((0.88, 0.2), (0.5, 0.2), (0.0, 0.2))
"""The initial values of the authors' layer, which their training scripts override."""


def sparsity(variables: Sequence[Any], threshold: float = 20.0) -> Any:
    """The penalty on weights that are not yet far from zero.

    Far from zero, tanh and the sigmoid saturate and the effective weights are discrete.

    Args:
        variables: float variables or tensors of any shapes.
        threshold: t, the absolute value from which on a weight costs nothing.

    Returns:
        A scalar tensor, (1/t) sum_v mean(max(min(-v, v) + t, 0)).

    Source: eqs 2.14 and 2.15 of the thesis.
    """
    means = [ops.mean(ops.maximum(ops.minimum(-v, v) + threshold, 0.0)) for v in variables]
    return sum(means[1:], means[0]) / threshold


@keras.saving.register_keras_serializable(package="inalu")
class NALU(ArithmeticLayer):
    """Dense layer that learns sums and differences, or products and quotients, of its inputs.

    For input x of I features and output o, with independent weights for both paths::

        W_a   = tanh(w_a) * sigmoid(m_a)                                  (2.6)
        W_m   = tanh(w_m) * sigmoid(m_m)                                  (2.7)
        a_o   = sum_i x_i W_a[i, o]                                       (2.8)
        m_o   = exp(min(sum_i ln(max(|x_i|, epsilon)) W_m[i, o], omega))  (2.9)
        msm   = sign(x_i) |W_m[i, o]| + 1 - |W_m[i, o]|                   (2.10)
        msv_o = prod_i msm[i, o]                                          (2.11)
        g_o   = sigmoid(G_o)                                              (2.12)
        y_o   = g_o a_o + (1 - g_o) m_o msv_o                             (2.13)

    The sum over i in 2.9, lost in the thesis' print, is that of the authors' code, which
    clips after it. The sign product follows 2.10 and 2.11 for any number of outputs; the
    authors' code pairs weights and inputs wrongly when there are several.

    The regulariser, eqs 2.14 and 2.15 over {w_a, m_a, w_m, m_m, g}, is one `add_loss` of
    every call; see `sparsity`.

    Half precision is that of `ArithmeticLayer`. For inputs of up to 1e30 in absolute value outputs
    are finite, and so are gradients wherever the dtype has float32's range.

    Args:
        units: O, the number of outputs, at least 1.
        clipping: omega, the largest exponent on the multiplicative path: products are capped
            at exp(omega).
        w_initializer, m_initializer, g_initializer: initial values of `w_*`, `m_*` and `g`:
            whatever `keras.initializers.get` takes. The defaults N(1, 0.1), N(-1, 0.1) and
            N(0, 0.1) are those of the authors' training scripts. A random initializer draws
            from the layer's own stream; a seed of its own is ignored, because it would make
            all draws of it equal.
        threshold: t of the regulariser.
        signed: whether products have the sign of 2.10 and 2.11, instead of none at all.
        **kwargs: `strength` and `seed`, see `ArithmeticLayer`, and those of `keras.layers.Layer`.

    Attributes:
        w_a, m_a, w_m, m_m: (I, O) float variables.
        g: (O,) float variable, the gate.

    Input shape: (..., I) of any number dtype. Output shape: (..., O) in the policy's compute
    dtype.

    Raises:
        ValueError: units, clipping or threshold is out of range, or the number of input
            features is unknown when the layer is built.

    Source: section 2.3 of the thesis; Schlör, Ring and Hotho, "iNALU: Improved Neural
    Arithmetic Logic Unit", 2020.
    """

    def __init__(
        self,
        units: int,
        clipping: float = 20.0,
        *,
        w_initializer: Any = None,
        m_initializer: Any = None,
        g_initializer: Any = None,
        threshold: float = 20.0,
        signed: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        limit = _MAX_CLIPPING[self._inner_dtype]
        if not 0 < clipping <= limit:
            raise ValueError(
                f"NALU: clipping is {clipping!r}, expected a number above 0 and at most "
                f"{limit:g}, beyond which exp overflows {self._inner_dtype}."
            )
        if not (threshold > 0 and math.isfinite(threshold)):
            raise ValueError(f"NALU: threshold is {threshold!r}, expected a number above 0.")
        self.clipping = float(clipping)
        self.threshold = float(threshold)
        self.signed = signed
        self.w_initializer = _initializer(w_initializer, mean=1.0)
        self.m_initializer = _initializer(m_initializer, mean=-1.0)
        self.g_initializer = _initializer(g_initializer, mean=0.0)

    def _weight_specs(self, features: int) -> list[WeightSpec]:
        matrix = (features, self.units)
        return [
            WeightSpec("w_a", matrix, self.w_initializer),
            WeightSpec("m_a", matrix, self.m_initializer),
            WeightSpec("w_m", matrix, self.w_initializer),
            WeightSpec("m_m", matrix, self.m_initializer),
            WeightSpec("g", (self.units,), self.g_initializer),
        ]

    def _penalty(self, **weights: Any) -> Any:
        return sparsity(list(weights.values()), self.threshold)

    def _outputs(self, x: Any, *, w_a: Any, m_a: Any, w_m: Any, m_m: Any, g: Any) -> Any:
        weights_a = ops.tanh(w_a) * ops.sigmoid(m_a)
        weights_m = ops.tanh(w_m) * ops.sigmoid(m_m)
        summed = ops.matmul(x, weights_a)
        exponent = ops.matmul(ops.log(ops.maximum(ops.abs(x), EPSILON)), weights_m)
        multiplied = ops.exp(ops.minimum(exponent, self.clipping))
        if self.signed:
            strength = ops.abs(weights_m)
            signs = ops.expand_dims(ops.sign(x), -1) * strength + (1.0 - strength)
            multiplied = multiplied * product(signs)
        gate = ops.sigmoid(g)
        return gate * summed + (1.0 - gate) * multiplied

    def discrete(self) -> tuple[Unit, ...]:
        """The layer rounded: sums where the gate is open, products where it is closed."""
        values = self._values()
        added = rounded(np.tanh(values["w_a"]) * sigmoid(values["m_a"]))
        multiplied = rounded(np.tanh(values["w_m"]) * sigmoid(values["m_m"]))
        units = []
        for output, gate in enumerate(sigmoid(values["g"])):
            adds = gate >= 0.5
            whole, distance = (added if adds else multiplied)[output]
            units.append(Unit("+" if adds else "*", whole, max(float(abs(gate - adds)), distance)))
        return tuple(units)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "clipping": self.clipping,
            "w_initializer": serialize(self.w_initializer),
            "m_initializer": serialize(self.m_initializer),
            "g_initializer": serialize(self.g_initializer),
            "threshold": self.threshold,
            "signed": self.signed,
        }


def _initializer(given: Any, mean: float) -> Any:
    if given is None:
        return keras.initializers.RandomNormal(mean, 0.1)
    return keras.initializers.get(given)
