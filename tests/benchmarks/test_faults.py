"""The list of faults from published catalogues: a sample of it, and its page."""

from __future__ import annotations

import re

import pytest

from benchmarks.faults import FAULTS, PAGE, Fault, judged
from verify.rules import RULES

BY_ID = {fault.id: fault for fault in FAULTS}
# By what catches them: a rule, a keyword, the fingerprint, the guard.
SAMPLE = {
    "HLR-groups": ((), ("learning_rate",)),
    "penalty-twice": (("V502",), ("regularization",)),
    "AAL-convolution-softmax": (("V301",), ("fingerprint",)),
    "WCI-zeros": (("V111",), ()),
}


def test_ids_are_of_one_fault_each() -> None:
    assert len(BY_ID) == len(FAULTS) >= 120


@pytest.mark.parametrize("id", SAMPLE)
def test_a_sample_is_caught_and_its_right_steps_raise_no_alarm(id: str) -> None:
    verdict = judged(BY_ID[id])
    assert (verdict.lint, verdict.keywords) == SAMPLE[id]
    assert verdict.alarms == ()
    watched = BY_ID[id].watch is not None
    assert verdict.guard == (("watched",) if watched else None)


@pytest.mark.parametrize("fault", FAULTS, ids=BY_ID)
def test_an_entry_says_where_it_is_from(fault: Fault) -> None:
    assert re.match(
        r"DeepCrime|TheDeepChecker|Humbatova|Defects4ML|Tambon|TrainCheck", fault.source
    )
    assert fault.describes[0].islower()
    assert not fault.describes.endswith(".")


def test_the_page_has_the_list() -> None:
    text = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|", text, re.MULTILINE)
    assert rows == [(fault.id, fault.source, fault.describes) for fault in FAULTS]
    assert {id.upper() for id in re.findall(r"lint\.md#(v\d+)", text)} <= {*RULES}
    assert f"This page lists {len(FAULTS)} faults" in text
