"""The neural logic rule layer (NLRL)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from inalu.layers.base import InitializedLayer, WeightSpec, sigmoid
from inalu.units import Unit

# ln is taken of nothing smaller than this.
EPSILON = 1e-10


@keras.saving.register_keras_serializable(package="inalu")
class NLRL(InitializedLayer):
    """Dense layer that learns conjunctions and disjunctions of its inputs and their negations.

    For input x of I features between 0 and 1, and output o::

        n_io  = (1 - sigmoid(N[i, o])) x_i + sigmoid(N[i, o]) (1 - x_i)
        and_o = exp(sum_i sigmoid(R[i, o]) ln(max(n_io, epsilon)))
        or_o  = 1 - exp(sum_i sigmoid(R[i, o]) ln(max(1 - n_io, epsilon)))
        y_o   = (1 - sigmoid(S_o)) and_o + sigmoid(S_o) or_o

    N negates, R says which inputs are relevant, S selects. The paper has no regulariser.

    Args:
        units: O, the number of outputs, at least 1.
        initializer: initial values of `n`, `r` and `s`: whatever `keras.initializers.get` takes;
            U(-1/2, 1/2) by default.
        **kwargs: see `ArithmeticLayer`.

    Attributes:
        n, r: (I, O) float variables, N and R.
        s: (O,) float variable, S.

    Raises:
        ValueError: units is out of range.

    Source: Reimann, Schwung and Ding, "Neural logic rule layers", 2022, by way of public ports of
    it; section 2.4.3 of the thesis.
    """

    def _default(self, features: int) -> Any:
        return keras.initializers.RandomUniform(-0.5, 0.5)

    def _weight_specs(self, features: int) -> list[WeightSpec]:
        initializer, matrix = self._initial(features), (features, self.units)
        return [
            WeightSpec("n", matrix, initializer),
            WeightSpec("r", matrix, initializer),
            WeightSpec("s", (self.units,), initializer),
        ]

    def _outputs(self, x: Any, *, n: Any, r: Any, s: Any) -> Any:
        negated, relevant, chosen = ops.sigmoid(n), ops.sigmoid(r), ops.sigmoid(s)
        x = ops.expand_dims(x, -1)
        literals = (1.0 - negated) * x + negated * (1.0 - x)
        both = _conjunction(literals, relevant)
        either = 1.0 - _conjunction(1.0 - literals, relevant)
        return (1.0 - chosen) * both + chosen * either

    def discrete(self) -> tuple[Unit, ...]:
        """The layer rounded: which inputs are joined, negated or not, and how."""
        negated, relevant, chosen = (sigmoid(self._values()[name]) for name in "nrs")
        units = []
        for output, either in enumerate(chosen):
            used = relevant[:, output] >= 0.5
            signs = np.where(negated[:, output] >= 0.5, -1, 1)
            off = [_distance(relevant[:, output]), np.where(used, _distance(negated[:, output]), 0)]
            # Of a single literal, conjunction and disjunction are the same.
            selection = float(_distance(either)) if used.sum() != 1 else 0.0
            units.append(
                Unit(
                    "or" if either >= 0.5 else "and",
                    tuple(int(sign) if u else 0 for sign, u in zip(signs, used, strict=True)),
                    max(selection, float(np.max(off))),
                )
            )
        return tuple(units)


def _conjunction(literals: Any, relevant: Any) -> Any:
    """Of literals (..., I, O) as far as they are relevant (I, O): (..., O)."""
    return ops.exp(ops.sum(relevant * ops.log(ops.maximum(literals, EPSILON)), axis=-2))


def _distance(values: Any) -> Any:
    """From the nearer of 0 and 1."""
    return np.minimum(values, 1.0 - values)
