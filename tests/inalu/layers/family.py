"""The layers in one table, with what they compute written down once more.

Each equation is that of its layer's docstring, for one sample and one output: a function of the
inputs and of the weights that lead to the output. There are loops and numbers in it, and no
matrices.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable
from functools import partial
from math import cos, exp, log, pi, prod, tanh
from typing import Any, NamedTuple

import numpy as np

from inalu.layers import NAC, NALU, NAU, NLRL, NMU, NPU, NSR, OriginalNALU, RealNPU

FEATURES, UNITS = 4, 2


class Case(NamedTuple):
    """A layer: how it is made, its equation and regulariser, and other arguments to make it of.

    `initial`: mean and standard deviation of initial values of 60 inputs and 40 outputs.
    """

    make: Callable[..., Any]
    equation: Callable[..., Any]
    initial: dict[str, tuple[float, float]]
    options: dict[str, Any]
    penalty: Callable[..., float] | None = None


def sigmoid(z: float) -> float:
    return (1 + tanh(z / 2)) / 2


def between(lower: float, upper: float, value: float) -> float:
    return max(lower, min(value, upper))


def effective(w: float, m: float) -> float:
    return tanh(w) * sigmoid(m)


def nac_sum(x: Any, w: Any, m: Any) -> float:
    return sum(x_i * effective(*each) for x_i, *each in zip(x, w, m, strict=True))


def nac_product(x: Any, w: Any, m: Any) -> float:
    return prod((abs(x_i) + 1e-7) ** effective(*each) for x_i, *each in zip(x, w, m, strict=True))


def original_nalu(x: Any, w: Any, m: Any, g: Any) -> float:
    gate = sigmoid(np.dot(x, g))
    return gate * nac_sum(x, w, m) + (1 - gate) * nac_product(x, w, m)


def nalu(x: Any, w_a: Any, m_a: Any, w_m: Any, m_m: Any, g: float) -> float:
    exponent, sign = 0.0, 1.0
    for x_i, *each in zip(x, w_m, m_m, strict=True):
        weight = effective(*each)
        exponent += log(max(abs(x_i), 1e-7)) * weight
        sign *= np.sign(x_i) * abs(weight) + 1 - abs(weight)
    multiplied = exp(min(exponent, 20.0)) * sign
    return sigmoid(g) * nac_sum(x, w_a, m_a) + (1 - sigmoid(g)) * multiplied


def nalu_penalty(**weights: Any) -> float:
    return sum(np.mean([max(20 - abs(v), 0) for v in w.flat]) for w in weights.values()) / 20


def nau(x: Any, w: Any) -> float:
    return sum(x_i * between(-1, 1, w_i) for x_i, w_i in zip(x, w, strict=True))


def nau_penalty(w: Any) -> float:
    sizes = [min(abs(v), 1) for v in w.flat]
    return float(np.mean([min(size, abs(1 - size)) for size in sizes]))


def nmu(x: Any, w: Any) -> float:
    weights = [between(0, 1, w_i) for w_i in w]
    return prod(w_i * x_i + 1 - w_i for x_i, w_i in zip(x, weights, strict=True))


def nmu_penalty(w: Any) -> float:
    weights = [between(0, 1, v) for v in w.flat]
    return float(np.mean([min(v, 1 - v) for v in weights]))


def npu(x: Any, w_r: Any, w_i: Any, g: Any) -> float:
    """The complex power that 2.4.2 derives the docstring's equation from."""
    total = 0j
    for x_i, real, imaginary, gate in zip(x, w_r, w_i, g, strict=True):
        gate = between(0, 1, gate)
        r = gate * (abs(x_i) + 2**-23) + (1 - gate)
        total += complex(real, imaginary) * complex(log(r), gate * pi if x_i < 0 else 0.0)
    return cmath.exp(total).real


def real_npu(x: Any, w_r: Any, g: Any) -> float:
    size, angle = 1.0, 0.0
    for x_i, power, gate in zip(x, w_r, g, strict=True):
        gate = between(0, 1, gate)
        size *= (gate * (abs(x_i) + 2**-23) + (1 - gate)) ** power
        angle += gate * pi * power if x_i < 0 else 0.0
    return size * cos(angle)


def npu_penalty(**weights: Any) -> float:
    return sum(abs(v) for w in weights.values() for v in w.flat)


def nlrl(x: Any, n: Any, r: Any, s: float) -> float:
    conjunction, opposite = 1.0, 1.0
    for x_i, negated, relevant in zip(x, map(sigmoid, n), map(sigmoid, r), strict=True):
        literal = (1 - negated) * x_i + negated * (1 - x_i)
        conjunction *= max(literal, 1e-10) ** relevant
        opposite *= max(1 - literal, 1e-10) ** relevant
    return (1 - sigmoid(s)) * conjunction + sigmoid(s) * (1 - opposite)


def nsr(x: Any, v_left: Any, v_right: Any, w_sign: float, w_zero: float, b: float) -> Any:
    """Two outputs for one register."""
    left = sum(x_i * exp(v) for x_i, v in zip(x, v_left, strict=True)) / sum(map(exp, v_left))
    right = sum(x_i * exp(v) for x_i, v in zip(x, v_right, strict=True)) / sum(map(exp, v_right))
    sign = tanh(0.5 * (left - right))
    holds = sigmoid(b + w_sign * sign + w_zero * (1 - 2 * sign**2))
    return holds, 1 - holds


RANDOM = {"initializer": "random_normal"}
UNIFORM = 0.5 / 3**0.5  # of U(-1/2, 1/2), the standard deviation
GLOROT = (2 / 100) ** 0.5

CASES = {
    "NAC +": Case(NAC, nac_sum, {"w": (0, 0.294), "m": (0, 0.294)}, RANDOM),
    "NAC *": Case(
        partial(NAC, operation="*"), nac_product, {"w": (0, 0.294), "m": (0, 0.294)}, RANDOM
    ),
    "OriginalNALU": Case(
        OriginalNALU,
        original_nalu,
        {"w": (0, 0.294), "m": (0, 0.294), "g": (0, GLOROT)},
        {**RANDOM, "g_initializer": "zeros"},
    ),
    "NALU": Case(
        NALU,
        nalu,
        {"w_a": (1, 0.1), "m_a": (-1, 0.1), "w_m": (1, 0.1), "m_m": (-1, 0.1), "g": (0, 0.1)},
        {"clipping": 3.0, "w_initializer": "ones", "threshold": 2.0, "signed": False},
        nalu_penalty,
    ),
    "NAU": Case(NAU, nau, {"w": (0, GLOROT)}, RANDOM, nau_penalty),
    "NMU": Case(NMU, nmu, {"w": (0.5, UNIFORM / 2)}, RANDOM, nmu_penalty),
    "RealNPU": Case(RealNPU, real_npu, {"w_r": (0, GLOROT), "g": (0.5, 0)}, RANDOM, npu_penalty),
    "NPU": Case(
        NPU, npu, {"w_r": (0, GLOROT), "w_i": (0, 0), "g": (0.5, 0)}, RANDOM, npu_penalty
    ),
    "NLRL": Case(
        NLRL, nlrl, {"n": (0, UNIFORM), "r": (0, UNIFORM), "s": (0, UNIFORM)}, RANDOM
    ),
    "NSR": Case(
        partial(NSR, scale=0.5),
        nsr,
        {
            "v_left": (0, (2 / 61) ** 0.5),
            "v_right": (0, (2 / 61) ** 0.5),
            "w_sign": (0, 1),
            "w_zero": (0, 1),
            "b": (0, 0),
        },
        {"scale": 3.0},
    ),
}  # fmt: skip


def build(case: Case, *, seed: int = 152, features: int = FEATURES, **kwargs: Any) -> Any:
    """A layer with random weights, within and outside of the ranges of NAU, NMU and NPU."""
    layer = case.make(UNITS, **kwargs)
    layer.build((None, features))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(rng.uniform(-1.2, 1.6, weight.shape))
    return layer


def values(layer: Any) -> dict[str, Any]:
    """The layer's weights by name, in float64."""
    return {weight.name: weight.numpy().astype("float64") for weight in layer.weights}


def expected(case: Case, x: Any, weights: dict[str, Any]) -> Any:
    """What the equation says for x (..., I): (..., O)."""
    outputs = np.array(
        [
            [case.equation(row, **of_output(weights, unit)) for unit in range(UNITS)]
            for row in np.asarray(x, "float64").reshape(-1, x.shape[-1])
        ]
    )
    if outputs.ndim == 3:  # of NSR: y of all registers, then 1 - y of all
        outputs = np.concatenate([outputs[..., 0], outputs[..., 1]], axis=-1)
    return outputs.reshape(*x.shape[:-1], -1)


def of_output(weights: dict[str, Any], unit: int) -> dict[str, Any]:
    """The weights of one output. The gates of NPU, (I,) as no others are, belong to all."""
    shared = "g" if "w_r" in weights else None
    return {name: w if name == shared else w[..., unit] for name, w in weights.items()}


def expected_penalty(case: Case, weights: dict[str, Any]) -> float:
    return case.penalty(**weights) if case.penalty else 0.0


def samples(dtype: str = "float64") -> Any:
    """Inputs (12, 4): positive, negative, zero, tiny and large."""
    x = np.random.default_rng(1).normal(0.2, 1.5, (12, FEATURES))
    x[0] = 0.0
    x[1] = [1e-30, -1e-6, 2.0, -0.0]
    x[2] = [0.0, -1.0, 1.0, 1.0]
    x[3] = [1e4, -3.0, 0.5, 0.0]
    x[4] = [-1e4, 1e-3, -2e3, 1e-3]
    return x.astype(dtype)
