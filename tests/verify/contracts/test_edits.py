"""Each edit of a project's training is seen: by a snapshot, and by the contract `init` writes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

from tests.grids import THOROUGH
from tests.verify.contracts.edited import BATCH, EDITS, trained
from verify.contracts.baseline import baseline
from verify.contracts.expectation import expectation
from verify.contracts.schema import Expected
from verify.find import Detector
from verify.step import capture
from verify.step_facts import lines_of, step_facts

# A contract says what has to be true: it may be measured as anybody likes.
UNSAID = {"another metric", "no metric"}


@pytest.fixture(scope="module")
def before() -> tuple[Any, str]:
    """What a contract says of the training as it is, and the lines of its snapshot."""
    step = capture(trained(), *BATCH)
    said = Expected.model_validate(baseline(step).said, by_alias=True)
    return expectation("shop", said), lines_of(step_facts(step))


def test_nothing_is_edited(before: tuple[Any, str]) -> None:
    step = capture(trained(), *BATCH)
    assert before[0].violations_of(Detector(step)) == []
    assert lines_of(step_facts(step)) == before[1]


def is_kept(expected: Any, step: Any) -> bool:
    """Whether a contract is kept; one that names a variable which is gone is an error."""
    try:
        return not expected.violations_of(Detector(step))
    except ValueError:
        return False


# An edit takes two seconds: the default profile makes 12 of them, `thorough` all 45.
EVERY = settings.default.max_examples >= THOROUGH
MADE = [name for i, name in enumerate(EDITS) if EVERY or i % 4 == 0]


@pytest.mark.parametrize("edit", MADE)
def test_an_edit_is_seen(edit: str, before: tuple[Any, str]) -> None:
    step = capture(trained(**EDITS[edit]), *BATCH)
    assert lines_of(step_facts(step)) != before[1]
    assert is_kept(before[0], step) == (edit in UNSAID)
