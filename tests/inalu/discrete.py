"""Layers and stacks of them whose weights are discrete, as after training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from inalu import recipe
from inalu.layers import NAC, NAU, NLRL, NMU, NPU, NSR, OriginalNALU, RealNPU

FAR = 40.0  # tanh and the sigmoid are 1 there, in float32


def solve(model: Any, layers: Any, far: float = FAR) -> Any:
    """Sets each layer's weights: (added, multiplied, gates), entries -1, 0, 1 and 0, 1."""
    for layer, (added, multiplied, gate) in zip(model.layers, layers, strict=True):
        layer.w_a.assign(np.multiply(added, far))
        layer.w_m.assign(np.multiply(multiplied, far))
        layer.m_a.assign(np.full(layer.m_a.shape, far))
        layer.m_m.assign(np.full(layer.m_m.shape, far))
        layer.g.assign(np.where(gate, far, -far))
    return model


def solved(far: float = FAR) -> Any:
    """The 3-2-1 stack as in figure 6.11 of the thesis: (x1 - x2)(x3 - x4) + x5 x6."""
    sums = np.zeros((7, 3))
    sums[0, 0], sums[1, 0], sums[2, 1], sums[3, 1] = 1, -1, 1, -1
    products = np.zeros((7, 3))
    products[4, 2] = products[5, 2] = 1
    layers = [
        (sums, products, [1, 1, 0]),
        ([[0, 0], [0, 0], [0, 1]], [[1, 0], [1, 0], [0, 0]], [0, 1]),
        ([[1], [1]], [[0], [0]], [1]),
    ]
    return solve(recipe.build_model(), layers, far)


def stack(*layers: Any) -> Any:
    """Layers that are built, as one model."""
    features = layers[0].weights[0].shape[0]
    return keras.Sequential([keras.Input((features,)), *layers])


def _made(layer: Any, matrix: Any, **weights: Any) -> Any:
    layer.build((None, len(matrix)))
    for name, value in weights.items():
        getattr(layer, name).assign(value)
    return layer


# The entries of each matrix (inputs, outputs) are what an output does with an input.


def nac(matrix: Any, operation: str = "+", far: float = FAR) -> Any:
    sizes = np.full(np.shape(matrix), far)
    return _made(NAC(len(matrix[0]), operation), matrix, w=np.multiply(matrix, far), m=sizes)


def original_nalu(matrix: Any, gate: float) -> Any:
    sizes = np.full(np.shape(matrix), FAR)
    layer = OriginalNALU(len(matrix[0]))
    return _made(layer, matrix, w=np.multiply(matrix, FAR), m=sizes, g=gate * sizes)


def nau(matrix: Any) -> Any:
    return _made(NAU(len(matrix[0])), matrix, w=matrix)


def nmu(matrix: Any) -> Any:
    return _made(NMU(len(matrix[0])), matrix, w=matrix)


def real_npu(powers: Any, gate: Any = None) -> Any:
    gate = np.ones(len(powers)) if gate is None else gate
    return _made(RealNPU(len(powers[0])), powers, w_r=powers, g=gate)


def npu(powers: Any, imaginary: float = 0.0, gate: Any = None) -> Any:
    gate = np.ones(len(powers)) if gate is None else gate
    turned = np.full(np.shape(powers), imaginary)
    return _made(NPU(len(powers[0])), powers, w_r=powers, w_i=turned, g=gate)


def nlrl(matrix: Any, *words: str) -> Any:
    """Of 1, 0 and -1, and the word for each output: "and" or "or"."""
    signs = np.asarray(matrix)
    return _made(
        NLRL(len(words)),
        matrix,
        n=np.where(signs < 0, FAR, -FAR),
        r=np.where(signs != 0, FAR, -FAR),
        s=[FAR if word == "or" else -FAR for word in words],
    )


def nsr(features: int, *comparisons: tuple[int, str, int], scale: float = 1000.0) -> Any:
    """Each a left side, a relation and a right side; inputs are counted from 1."""
    left, right = np.zeros((2, features, len(comparisons)))
    w_sign, w_zero, b = np.zeros((3, len(comparisons)))
    for u, (first, relation, second) in enumerate(comparisons):
        left[first - 1, u] = right[second - 1, u] = FAR
        below, equal, above = (FAR if holds in relation else -FAR for holds in "<=>")
        # Of b - w_sign - w_zero = below, b + w_zero = equal and b + w_sign - w_zero = above.
        w_sign[u] = (above - below) / 2
        b[u] = (equal + (below + above) / 2) / 2
        w_zero[u] = equal - b[u]
    layer = NSR(len(comparisons), scale=scale)
    weights = {"v_left": left, "v_right": right, "w_sign": w_sign, "w_zero": w_zero, "b": b}
    return _made(layer, left, **weights)
