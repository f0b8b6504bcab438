"""What loopctl 0.1.0 wrote for a project: its snapshot is told to be old.

Its contract, first_edition/shop.graph.toml, is a test of its own, as every contract is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import verify
from tests.verify.contracts import shop
from verify.assertions import GraphAssertionError
from verify.contracts import GraphSnapshot, fresh_names
from verify.step_facts import changes_since_first_edition, is_of_first_edition, snapshot_of

FOLDER = Path(__file__).parent / "first_edition"
KEPT = (FOLDER / "plain.graph").read_text("utf-8")


@pytest.fixture(scope="module")
def found() -> str:
    fresh_names()
    target, batch = shop.plain()
    return snapshot_of(verify.facts(target, batch))


def test_a_snapshot_is_compared_in_what_is_told_in_the_same_words(found: str) -> None:
    assert is_of_first_edition(KEPT)
    assert not is_of_first_edition(found)
    # A loss that is compiled by its name was called so.
    assert changes_since_first_edition(KEPT, found) == ["- loss: mse", "+ loss: MeanSquaredError"]


class Recalled:
    """What syrupy's fixture answers for a snapshot that is not what was found."""

    num_executions = 0

    def __init__(self, text: str) -> None:
        self.executions = [self]
        self.exception, self.snapshot_name, self.recalled_data = None, "test_plain", text

    def use_extension(self, _: Any) -> Recalled:
        return self

    def __call__(self, **_: Any) -> Recalled:
        return self


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (KEPT, "and this is told otherwise today (- as kept, + as it is)"),
        (KEPT.replace("mse", "MeanSquaredError"), "of what it told nothing has changed"),
    ],
)
def test_a_snapshot_says_how_to_keep_it_anew(kept: str, told: str) -> None:
    fresh_names()
    with pytest.raises(GraphAssertionError) as raised:
        GraphSnapshot(Recalled(kept))(*shop.plain())
    lines = str(raised.value).splitlines()
    assert lines[0] == "test_plain: loopctl 0.1 kept it, which told less of a step"
    assert lines[1] == told
    assert any("pytest --graph-update keeps what is told today" in line for line in lines)
