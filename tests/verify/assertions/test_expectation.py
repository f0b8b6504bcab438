"""What is expected, before it is held against a step."""

from __future__ import annotations

import pytest

from verify.assertions import Expectation
from verify.assertions.expectation import UNSET


def test_nothing_is_checked_that_was_not_said() -> None:
    assert not Expectation().values
    assert not Expectation.of({"loss": UNSET, "clipping": UNSET}).values
    assert repr(UNSET) == "unchecked"


def test_an_expectation_can_not_be_changed() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        Expectation().values["loss"] = "mse"  # type: ignore[index]


def test_expectations_of_a_mapping() -> None:
    made = Expectation.of({"loss": "mse", "clipping": UNSET, "allow_writes": True})
    assert made.values == {"loss": "mse", "allow_writes": True}
    assert Expectation.of(made) is made
    with pytest.raises(
        TypeError, match="there is no keyword 'los'; there are loss, objective, forward"
    ):
        Expectation.of({"los": "mse"})
