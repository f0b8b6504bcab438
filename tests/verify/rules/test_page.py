"""The page of rules, against the rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verify.rules import PAGE, RULES, rule_of

TEXT = (Path(__file__).parents[3] / "docs" / PAGE).read_text("utf-8")
SECTIONS = re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)


def test_the_page_has_a_section_for_each_rule() -> None:
    assert [id for id, _ in SECTIONS] == list(RULES)


@pytest.mark.parametrize(("id", "text"), SECTIONS, ids=[id for id, _ in SECTIONS])
def test_a_section_says_what_the_rule_says(id: str, text: str) -> None:
    assert text.split() == RULES[id].section.split()


def test_an_id_that_is_none_is_told_with_the_nearest() -> None:
    assert rule_of("v301") is RULES["V301"]
    with pytest.raises(ValueError, match="no rule 'V3011'; did you mean V301"):
        rule_of("V3011")


def test_the_gate_says_how_many_rules_there_are() -> None:
    gate = (Path(__file__).parents[3] / "docs" / "gate.md").read_text("utf-8")
    assert f"[{len(RULES)} rules]({PAGE})" in gate
