"""Numbers of NumPy among others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from loopctl_shared import plain_numbers


class Pair(NamedTuple):
    low: object
    high: object


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(2), np.float16(0.5)])
def test_they_become_those_of_python(number: np.number) -> None:
    found = plain_numbers({"a": number, "b": [(number, 1)], "c": "text"})
    assert found == {"a": number.item(), "b": [(number.item(), 1)], "c": "text"}
    assert {type(found["a"]), type(found["b"][0][0])} == {type(number.item())}


def test_everything_else_stays_what_it_is() -> None:
    array, pair = np.ones(3), Pair(np.float32(1), 2)
    for one in (array, pair, {1, 2}, None, True, "text", len):
        assert plain_numbers(one) is one
