"""Gradients that are held against a function's: what is shown of those that differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from verify.find.objective_passes import _comparison, _Sample
from verify.find.witnesses import Sides


def samples(*draws: tuple[Sequence[float], Sequence[float]]) -> list[_Sample]:
    """Found and expected gradients, beside others of a size of about one."""
    found = [Sides("w", np.asarray(one), np.asarray(other)) for one, other in draws]
    return [_Sample(draw, sides, 1.0) for draw, sides in enumerate(found)]


def test_an_example_is_no_rounding() -> None:
    rounding = ([4e-17, 0.0], [-1e-17, 0.0])
    other = ([0.5, 0.25], [0.5, 0.3])
    told = _comparison(samples(rounding, other), 1e-4)
    assert told.witness is not None
    assert str(told.witness).startswith("for example, by w[1]: 0.25, expected 0.3 (draw 1;")
    assert _comparison(samples(rounding, rounding), 1e-4).zero


def test_of_another_shape_that_is_shown() -> None:
    told = _comparison(samples(([1.0, 2.0], [3.0, 4.0]), ([1.0], [1.0, 2.0])), 1e-4)
    assert "shape (1,), expected (2,)" in str(told.witness)
    assert told.factor is None


def test_a_factor_needs_no_example() -> None:
    told = _comparison(samples(([1.0, 2.0], [2.0, 4.0]), ([3.0, 0.0], [6.0, 0.0])), 1e-4)
    assert told.factor == pytest.approx(0.5)
    assert told.witness is None
