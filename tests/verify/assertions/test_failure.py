"""The error of a broken expectation outlives the process that raised it."""

from __future__ import annotations

import pickle

import pytest

from verify.assertions import GraphAssertionError
from verify.assertions.failure import fail
from verify.kinds import Violation


def test_an_error_survives_pickling() -> None:
    """As it must to reach the parent of a pool's worker."""
    violations = [Violation("loss", "mse", "mae", ("nearest: ...",))]
    with pytest.raises(GraphAssertionError) as caught:
        fail("step", violations)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is GraphAssertionError
    assert str(again) == str(caught.value)
    assert again.violations == (*violations,)
