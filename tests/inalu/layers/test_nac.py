"""NAC and the first NALU: what is their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inalu.layers import NAC, OriginalNALU


@pytest.mark.parametrize("kind", [NAC, OriginalNALU])
@pytest.mark.parametrize(
    ("features", "units", "variance"), [(80, 40, 2 / 120), (12, 8, 2 / 20), (2, 2, 2 / 5)]
)
def test_variance_of_initial_weights(kind: Any, features: int, units: int, variance: float) -> None:
    """2 / (I + O) of the effective weights, but no more than uniform w and m can give."""
    layer = kind(units, seed=1)
    layer.build((None, features))
    drawn: list[float] = []
    while len(drawn) < 1500:
        layer.reinitialize()
        w, m = np.asarray(layer.w), np.asarray(layer.m)
        drawn.extend((np.tanh(w) / (1 + np.exp(-m))).flat)
    assert np.var(drawn) == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize("operation", ["-", "add", None])
def test_wrong_operation(operation: Any) -> None:
    with pytest.raises(ValueError, match=r'NAC: operation is .*, expected "\+" or "\*"'):
        NAC(1, operation)
