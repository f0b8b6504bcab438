"""The registry: what every kind of fact has to give, and that nothing else has to know it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import pytest

from tests.verify import steps
from verify.contracts.schema import Expected
from verify.find import Detector
from verify.kinds import KEYWORDS, KINDS, Facts
from verify.selfcheck import FAULTS
from verify.step import capture

DOCS = Path(__file__).parents[3] / "docs"


def test_kinds_fill_every_field_of_the_facts_once() -> None:
    step = steps.step(steps.dense(), keras.losses.MeanSquaredError())
    detector = Detector(capture(step, *steps.batch()))
    filled = [name for kind in KINDS for name in kind.find(detector)]
    assert sorted([*filled, "name"]) == sorted(field.name for field in dataclasses.fields(Facts))


def test_every_keyword_is_a_key_of_contracts() -> None:
    assert list(Expected.model_fields) == list(KEYWORDS)


def test_for_every_keyword_there_are_planted_faults() -> None:
    planted = {fault.keyword for fault in FAULTS}
    checked = {name for name, keyword in KEYWORDS.items() if keyword.check is not None}
    assert checked - planted == UNPLANTED


UNPLANTED = {"max_ops", "max_bytes"}  # limits that people set, no faults of a step


@pytest.mark.parametrize("page", ["verify.md", "gate.md"])
def test_every_keyword_is_in_the_docs(page: str) -> None:
    told = (DOCS / page).read_text("utf-8")
    assert [name for name in KEYWORDS if f"`{name}`" not in told] == []
