"""What is expected, before it is held against a step."""

from __future__ import annotations

import dataclasses

import pytest

from verify.assertions import Expectation
from verify.assertions.expectation import UNSET


def test_nothing_is_checked_that_was_not_said() -> None:
    nothing = Expectation()
    fields = [field.name for field in dataclasses.fields(nothing)]
    assert all(getattr(nothing, name) is UNSET for name in fields if name != "allow_writes")
    assert nothing.allow_writes is False
    assert repr(UNSET) == "unchecked"


def test_an_expectation_can_not_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Expectation().loss = "mse"  # type: ignore[misc]


def test_expectations_of_a_mapping() -> None:
    made = Expectation.of({"loss": "mse", "allow_writes": True})
    assert (made.loss, made.allow_writes, made.clipping) == ("mse", True, UNSET)
    assert Expectation.of(made) is made
    with pytest.raises(TypeError, match="no expectation is called 'los': there are loss, regular"):
        Expectation.of({"los": "mse"})
