"""Records: what means the same is told from what only looks so, and never the other way."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from tests.verify.contracts import recorded
from verify.contracts import (
    Difference,
    RecordedStep,
    captured,
    difference,
    differences,
    now_of,
    read_record,
    record,
    record_text,
    subject_from,
)
from verify.contracts.sketches import factor, sketch
from verify.errors import ContractError

_HERE = recorded.__name__


@functools.cache
def kept(name: str) -> RecordedStep:
    """What is read of the file of a step's record."""
    text = record_text(record([f"{_HERE}:{name}"]))
    (step,) = json.loads(text)["steps"]
    return RecordedStep.model_validate_json(json.dumps(step))


def changed(then: str, now: str) -> Difference:
    return difference(kept(then), now_of(kept(then), captured(subject_from(f"{_HERE}:{now}"))))


@pytest.mark.parametrize("name", ["base", "noisy", "scheduled"])
def test_that_a_step_means_what_it_meant(name: str) -> None:
    assert changed(name, name) == Difference(f"{_HERE}:{name}", "same")


def test_that_other_names_only_look_different() -> None:
    found = changed("base", "renamed")
    assert found.outcome == "alike"
    assert not found.told
    assert found.looks[0].startswith("other names: Adam_7/")


def test_that_another_spelling_only_looks_different() -> None:
    found = changed("base", "spelled")
    assert found.outcome == "alike", found.message
    assert found.looks[0].startswith("other ops write ")
    assert "Sum, not " in found.looks[0]


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("rate", "10 times the change"),
        ("epsilon", "another change, by up to "),
        ("weighted", "0.5 times the change"),
        ("mode", "norm/moving_variance: not written any more"),
        ("frozen", "hidden/kernel, sequential/hidden/bias, "),
        ("noisy", "another change, by up to "),
    ],
)
def test_that_a_fault_is_another_thing(now: str, told: str) -> None:
    found = changed("base", now)
    assert found.outcome == "other"
    assert told in found.message


def test_that_a_number_is_told_where_a_variable_holds_it() -> None:
    assert "adam/learning_rate holds 0.01, and held 0.001" in changed("base", "rate").told


def test_that_one_step_of_a_schedule_is_seen() -> None:
    assert changed("scheduled", "later").outcome == "other"


@pytest.mark.parametrize(
    ("then", "now", "why"),
    [
        (
            "noisy",
            recorded.noisier.__name__,
            "but other random numbers are drawn: 1 RandomStandardNormal",
        ),
        ("called", "called", "can't be compared: EagerPyFunc is a stateful EagerPyFunc"),
        (
            "base",
            recorded.longer.__name__,
            "it is handed [7, 4] float32, [7, 1] float32, and was [6, 4] float32",
        ),
    ],
)
def test_that_what_can_not_be_told_is_said(then: str, now: str, why: str) -> None:
    found = changed(then, now)
    assert found.outcome == "unsure"
    assert why in found.message


def test_that_a_small_number_is_never_said_to_be_the_same() -> None:
    assert changed("base", recorded.slightly.__name__).outcome in ("other", "unsure")


def test_that_other_numbers_of_numpy_are_not_compared() -> None:
    found = difference(kept("base"), kept("base"), drawn_alike=False)
    assert found.outcome == "unsure"
    assert "record it again" in found.message


def test_records_against_one_another() -> None:
    then, now = (record([f"{_HERE}:base"]) for _ in range(2))
    assert [one.outcome for one in differences(then, now)] == ["same"]


@pytest.mark.parametrize("text", ["", "{}", '{"loopctl_record": 2}', "[1]"])
def test_that_what_is_no_record_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ContractError, match="not a record that loopctl-verify"):
        read_record(path)
    with pytest.raises(ContractError, match="does not exist"):
        read_record(tmp_path / "none.json")


@pytest.mark.parametrize("size", [1, 24, 25, 5000])
def test_sketches_of_changes(size: int) -> None:
    rng = np.random.default_rng(3)
    before, change = rng.normal(size=(2, size))
    one, twice = (sketch(before + by * change, before) for by in (1.0, 2.0))
    assert one is not None
    assert twice is not None
    assert factor([one], [twice]) == pytest.approx(2.0)
    assert one.apart(one) == 0.0
    for place in {0, size // 2, size - 1}:  # one element alone
        moved = change.copy()
        moved[place] += 0.01 * np.linalg.norm(change)
        other = sketch(before + moved, before)
        assert other is not None
        assert one.apart(other) > 1e-3
    assert sketch(np.full(size, np.nan), before) is None
