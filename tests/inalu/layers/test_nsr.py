"""NSR: what is its own."""

from __future__ import annotations

import numpy as np
import pytest

from inalu.layers import NSR
from tests.inalu.discrete import nsr


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf")])
def test_wrong_scale(scale: float) -> None:
    with pytest.raises(ValueError, match=f"NSR: scale is {scale}, expected a number above 0"):
        NSR(1, scale=scale)


def test_scale_is_how_small_a_difference_may_be() -> None:
    x = np.array([[1.0, 1.001], [1.001, 1.0]], "float32")
    fine, coarse = nsr(2, (1, "<", 2), scale=1e4), nsr(2, (1, "<", 2), scale=1.0)
    np.testing.assert_allclose(fine(x), [[1, 0], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(coarse(x), [[0, 1], [0, 1]], atol=1e-6)  # equal, as far as it sees


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16"])
def test_half_precision(policy: str) -> None:
    """Inputs that are equal only when rounded are told apart: they are not rounded."""
    precise = nsr(2, (1, "<", 2), scale=1e4)
    layer = NSR(1, scale=1e4, dtype=policy)
    layer.build((None, 2))
    for weight, value in zip(layer.weights, precise.get_weights(), strict=True):
        weight.assign(value)
    y = layer(np.array([[2.0, 2.0 + 2**-11], [2.0 + 2**-11, 2.0], [3.0, 3.0]], "float32"))
    np.testing.assert_allclose(np.asarray(y, "float32"), [[1, 0], [0, 1], [0, 1]], atol=1e-4)
