"""Stacks of NALU layers whose weights are discrete, as after training."""

from __future__ import annotations

from typing import Any

import numpy as np

from inalu import recipe

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
