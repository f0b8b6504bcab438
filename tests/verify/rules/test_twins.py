"""Of each rule a right and a wrong twin: what the rule is about is found, and nothing else is."""

from __future__ import annotations

import pytest

from tests.verify.rules import loss_twins, state_twins, trained_twins, update_twins
from tests.verify.rules.twin import Make, Target, Twins
from verify.find import Detector
from verify.rules import RULES, Findings, chosen, findings
from verify.step import capture

EVERY: tuple[Twins, ...] = (
    *trained_twins.TWINS,
    *update_twins.TWINS,
    *loss_twins.TWINS,
    *state_twins.TWINS,
)
RIGHT: dict[Make, str] = {twins.right: twins.rule for twins in EVERY}


def found(target: Target, *rules: str) -> Findings:
    """What these rules, or all, find in a step."""
    detector = Detector(capture(target.step, *target.args, model=target.model))
    return findings(detector, chosen(rules, ()))


@pytest.mark.parametrize("make", RIGHT, ids=[f"{RIGHT[one]}" for one in RIGHT])
def test_nothing_is_found_in_a_right_step(make: Make) -> None:
    assert not found(make())


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        pytest.param(twins.rule, make, id=f"{twins.rule}-{number}")
        for twins in EVERY
        for number, make in enumerate(twins.wrong)
    ],
)
def test_what_is_wrong_is_found(rule: str, make: Make) -> None:
    (first, *_) = found(make(), rule)
    assert first.id == rule
    assert first.title == RULES[rule].title


def test_each_rule_has_twins() -> None:
    assert [*RULES] == sorted(RULES)
    assert {twins.rule for twins in EVERY} == set(RULES)
    assert len(RULES) >= 30
    assert all(twins.wrong for twins in EVERY)
