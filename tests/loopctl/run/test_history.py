"""The columnar history reads as a list of mappings."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from loopctl import StepHistory

ROWS = [{"loss": 1.0, "gate": True}, {"loss": 0.5, "gate": False}, {"loss": 0.25, "gate": True}]


def test_reads_like_a_list_of_mappings() -> None:
    history = StepHistory(ROWS)
    assert list(history) == ROWS
    assert history == ROWS
    assert len(history) == 3
    assert history[-1] == ROWS[-1]
    assert history[0]["gate"] is True
    assert history[-2:] == ROWS[-2:]
    assert [row["loss"] for row in history] == [1.0, 0.5, 0.25]
    assert not StepHistory()
    assert repr(history) == "<StepHistory of 3 steps: loss, gate>"


@pytest.mark.parametrize("index", [3, -4])
def test_out_of_range(index: int) -> None:
    with pytest.raises(IndexError, match=f"step {index} of a history of 3"):
        StepHistory(ROWS)[index]


def test_what_is_missing_in_a_step_reads_as_nan() -> None:
    history = StepHistory([{"loss": 1.0, "gate": True}, {"loss": 0.5, "mae": 2.0}])
    assert math.isnan(history[0]["mae"])
    assert math.isnan(history[1]["gate"])
    assert history[0]["gate"] == 1.0


def test_columns_of_several_steps_at_once() -> None:
    history = StepHistory()
    history.record(("loss", "gate"), np.array([[1.0, 1], [0.5, 0]]), frozenset({"gate"}))
    history.record(("loss", "gate"), np.array([[0.25, 1]]), frozenset({"gate"}))
    assert list(history) == ROWS
    np.testing.assert_array_equal(history.column("loss"), [1.0, 0.5, 0.25])
    np.testing.assert_array_equal(history.column("loss", last=2), [0.5, 0.25])
    np.testing.assert_array_equal(history.column("gate"), [True, False, True])
    assert history.column("gate").dtype == bool
    with pytest.raises(KeyError, match="there is no column 'mae'; there are loss, gate"):
        history.column("mae")


def test_arrays_for_a_data_frame_and_back() -> None:
    arrays = StepHistory(ROWS).to_dict()
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "loss": "float64",
        "gate": "bool",
    }
    assert StepHistory.from_dict(arrays) == ROWS
    assert len(StepHistory.from_dict(StepHistory().to_dict())) == 0


def test_a_view_of_later_steps_sees_what_is_appended() -> None:
    history = StepHistory(ROWS)
    view = history.since(2)
    history.append({"loss": 0.125, "gate": False})
    assert view == [ROWS[2], {"loss": 0.125, "gate": False}]
    assert view[-1]["loss"] == 0.125
    np.testing.assert_array_equal(view.column("loss"), [0.25, 0.125])
    assert len(history.since(4)) == 0


def test_a_million_steps_of_six_values_stay_small() -> None:
    """16 bytes per value at most, plus a constant."""
    history = StepHistory()
    block, names = np.zeros((1000, 6)), tuple("abcdef")
    tracemalloc.start()
    for _ in range(1000):
        history.record(names, block)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(history) == 1_000_000
    assert used < 6 * 16 * 1_000_000
