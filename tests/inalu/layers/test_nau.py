"""NAU and NMU: what is their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inalu.layers import NAU, NMU


def test_initial_weights_of_few_inputs() -> None:
    """Glorot's range would reach beyond that of the weights."""
    layer = NAU(1)
    layer.build((None, 2))
    drawn = []
    for _ in range(200):
        layer.reinitialize()
        drawn.append(np.asarray(layer.w))
    assert 0.45 < np.abs(drawn).max() <= 0.5


@pytest.mark.parametrize(("kind", "lower"), [(NAU, -1.0), (NMU, 0.0)])
def test_weights_beyond_the_range_are_at_its_ends(kind: Any, lower: float) -> None:
    """Those that were assigned: training moves them there."""
    beyond, ends = kind(1), kind(1)
    x = np.array([[2.0, -3.0, 5.0]], "float32")
    for layer, weights in [(beyond, [[7.0], [-7.0], [0.75]]), (ends, [[1.0], [lower], [0.75]])]:
        layer.build((None, 3))
        layer.w.assign(weights)
    np.testing.assert_array_equal(beyond(x), ends(x))
    assert float(beyond.regularization()) == float(ends.regularization()) > 0
    assert beyond.discrete() == ends.discrete()


def test_the_regulariser_is_zero_where_weights_are_discrete() -> None:
    for kind, weights in [(NAU, [[-1.0], [0.0], [1.0]]), (NMU, [[0.0], [0.0], [1.0]])]:
        layer = kind(1)
        layer.build((None, 3))
        layer.w.assign(weights)
        assert float(layer.regularization()) == 0.0
