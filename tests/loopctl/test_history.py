"""The columnar history reads as a list of mappings."""

from __future__ import annotations

import math

import pytest

from loopctl.history import History

ROWS = [{"loss": 1.0, "gate": True}, {"loss": 0.5, "gate": False}, {"loss": 0.25, "gate": True}]


def test_reads_like_a_list_of_mappings() -> None:
    history = History(ROWS)
    assert list(history) == ROWS
    assert history == ROWS
    assert len(history) == 3
    assert history[-1] == ROWS[-1]
    assert history[0]["gate"] is True
    assert history[-2:] == ROWS[-2:]
    assert [row["loss"] for row in history] == [1.0, 0.5, 0.25]
    assert not History()
    assert repr(history) == "<History of 3 steps: loss, gate>"


@pytest.mark.parametrize("index", [3, -4])
def test_out_of_range(index: int) -> None:
    with pytest.raises(IndexError, match=f"step {index} of a history of 3"):
        History(ROWS)[index]


def test_what_is_missing_in_a_step_reads_as_nan() -> None:
    history = History([{"loss": 1.0, "gate": True}, {"loss": 0.5, "mae": 2.0}])
    assert math.isnan(history[0]["mae"])
    assert math.isnan(history[1]["gate"])
    assert history[0]["gate"] == 1.0


def test_columns_of_several_steps_at_once() -> None:
    history = History()
    history.extend({"loss": [1.0, 0.5], "gate": [True, False]}, 2)
    history.extend({"loss": [0.25], "gate": [True]}, 1)
    assert list(history) == ROWS
