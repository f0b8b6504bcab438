"""Random expressions mean on the host what Python makes of them, and survive as text."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopctl import StepHistory, when
from loopctl.config import COUNTERS as NAMES
from loopctl.config import Condition, Statistic

LOSSES = [4.0, 0.5, 2.25]
STATE = SimpleNamespace(
    batches=7,
    batches_in_epochs=2,
    epochs=3,
    reinit_batches=5,
    reinit_epochs=0,
    reinit_history=StepHistory.from_dict({"loss": np.array(LOSSES)}),
)
Paired = tuple[Any, Any]
"""A predicate or number, and the value that it should have."""

COUNTERS: list[Paired] = [(getattr(when, name), getattr(STATE, name)) for name in NAMES]
SERIES: list[Paired] = [
    (when.loss.last(), 2.25),
    (when.loss.mean(1), 2.25),
    (when.loss.mean(2), 1.375),
    (when.loss.mean(3), 2.25),
    (when.loss.mean(100), 2.25),
    (when.column("loss").mean(2), 1.375),
]
FOLLOWING: list[Paired] = [
    (when.linear(1, 3, over=28), 1.5),
    (when.linear(0.5, 2.5, over=4), 2.5),
    (when.cosine(4.0, 0.0, over=14), 2.0),
    (when.cosine(0, 1, over=6, of=when.epochs - 4), 0.0),
    (when.piecewise([3, 7], [1, 0.5, 0.25]), 0.25),
    (when.piecewise([3.5], [1, -2], of=when.loss.last() * 2), -2),
    (when.piecewise([3.5], [1, -2], of=when.epochs), 1),
    (when.minimum(when.batches, 2.25), 2.25),
    (when.maximum(when.linear(0, 1, over=7), when.epochs), 3),
]


def combined(symbol: Callable[[Any, Any], Any]) -> Callable[[Paired, Paired], Paired]:
    return lambda left, right: (symbol(left[0], right[0]), symbol(left[1], right[1]))


def numbers() -> st.SearchStrategy[Paired]:
    constants = st.one_of(st.integers(-3, 9), st.sampled_from([0.5, 1.375, 2.25, -1.5]))
    leaves = st.sampled_from([*COUNTERS, *SERIES, *FOLLOWING])

    def extended(inner: st.SearchStrategy[Paired]) -> st.SearchStrategy[Paired]:
        sums = st.sampled_from([operator.add, operator.sub, operator.mul])
        quotients = st.sampled_from([operator.floordiv, operator.mod, operator.truediv])
        either = st.one_of(inner, constants.map(lambda c: (c, c)))
        positive = st.sampled_from([2, 3, 0.5]).map(lambda c: (c, c))
        return st.one_of(
            st.builds(lambda s, a, b: combined(s)(a, b), sums, inner, either),
            st.builds(lambda s, a, b: combined(s)(a, b), sums, either, inner),
            st.builds(lambda s, a, b: combined(s)(a, b), quotients, inner, positive),
            inner.map(lambda pair: (-pair[0], -pair[1])),
        )

    return st.recursive(leaves, extended, max_leaves=5)


def conditions() -> st.SearchStrategy[Paired]:
    compare = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]
    constants = st.sampled_from([0, 1, 2, 3, 7, 1.375, 2.25]).map(lambda c: (c, c))
    leaves = st.one_of(
        st.builds(
            lambda s, a, b: combined(s)(a, b), st.sampled_from(compare), numbers(), constants
        ),
        st.sampled_from(
            [
                (when.always, True),
                (when.every(1), True),
                (when.every(7), True),
                (when.every(2), False),
            ]
        ),
    )

    def extended(inner: st.SearchStrategy[Paired]) -> st.SearchStrategy[Paired]:
        logic = st.sampled_from([operator.and_, operator.or_])
        return st.one_of(
            st.builds(lambda s, a, b: combined(s)(a, b), logic, inner, inner),
            inner.map(lambda pair: (~pair[0], not pair[1])),
        )

    return st.recursive(leaves, extended, max_leaves=6)


@settings(max_examples=10 * settings.default.max_examples)
@given(conditions())
def test_a_condition_has_the_value_that_python_gives_it(pair: Paired) -> None:
    condition, expected = pair
    assert condition(STATE) is bool(expected)


@settings(max_examples=10 * settings.default.max_examples)
@given(conditions())
def test_the_text_of_a_condition_is_that_condition(pair: Paired) -> None:
    condition, expected = pair
    text = repr(condition)
    assert when.parse(text)(STATE) is bool(expected)
    assert repr(when.parse(text)) == text
    assert eval(text, {"when": when})(STATE) is bool(expected)


@pytest.mark.parametrize(
    "text",
    [
        "(when.batches < 1) & (when.epochs < 1) | when.always",
        "((when.batches < 1) | when.always) & when.always",
        "~(when.always & when.always)",
        "~~when.always",
        "when.always | (when.always | when.always)",
        "when.batches - (when.epochs - 1) < 1",
        "(when.batches - when.epochs) * 2 < 1",
        "when.batches % (2 * when.epochs) == 0",
        "-when.batches < 1",
        "-(when.batches + 1) < 1",
        "1 - when.batches < 1",
        "when.batches - when.epochs * 2 < 1",
        "when.epochs + when.batches % 3 < 1",
    ],
)
def test_parentheses_stand_where_they_are_needed(text: str) -> None:
    assert repr(when.parse(text)) == text


def test_what_decides() -> None:
    condition = (when.batches < 3) & ~(when.loss.mean(4) < when.mae.last()) | when.every(2)
    assert condition.counters == {"batches"}
    statistics = [(s.name, s.window) for s in condition.statistics]
    assert statistics == [("loss", 4), ("mae", 1)]
    assert (when.loss.last() < when.loss.last()).statistics == (Statistic("loss", 1),)


def test_with_nothing_seen_yet_comparisons_are_false() -> None:
    empty = SimpleNamespace(reinit_history=StepHistory())
    assert not (when.loss.last() < 1)(empty)
    assert not (when.loss.mean(3) >= 1)(empty)
    assert (when.loss.last() != 1)(empty)
    assert (~(when.loss.last() < 1))(empty)


def test_whole_numbers_are_exact() -> None:
    """However large: no detour by way of floats, which hold every one up to 2**53 only."""
    large = SimpleNamespace(batches=2**53 + 1)
    for number in (when.batches, when.batches // 1, when.batches * 1, when.batches - 0):
        assert (number % 2 == 1)(large)
    assert (when.batches / 2 == 2.0**52)(large)


EXPRESSIONS: list[Any] = [
    when.batches,
    when.loss,
    when.loss.last(),
    when.batches + 1,
    (when.batches + 1).right,  # type: ignore[attr-defined]  # a constant
    when.batches < 3,
    ~(when.batches < 3),
    when.every(2),
    when.always,
    *(when.loss.last() < 1).statistics,
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=repr)
def test_expressions_can_be_keys_and_not_changed(expression: Any) -> None:
    assert {expression: 1}[expression] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        expression.name = "another"


def test_conditions_are_the_same_only_as_themselves() -> None:
    """To compare numbers makes a condition."""
    assert (when.batches < 3) != (when.batches < 3)
    assert when.every(2) != when.every(2)
    assert isinstance(when.batches == when.epochs, Condition)
    assert isinstance(when.loss.last() == when.loss.last(), Condition)
    assert isinstance((when.batches + 1) == (when.batches + 1), Condition)


@pytest.mark.parametrize(
    "meant",
    [
        lambda column: column < 1,
        lambda column: column >= 1,
        lambda column: when.batches > column,
        lambda column: column == 1,
        lambda column: column != 1,
        lambda column: column % 2 == 0,
        lambda column: 2 * column,
        lambda column: when.batches - column,
    ],
)
def test_that_a_column_is_no_number(meant: Callable[[Any], Any]) -> None:
    """Nor is it silently equal to none: ``when.epoch == 3`` was `False`."""
    with pytest.raises(TypeError, match=r"when\.loss can.* a column .*: take its \.last\(\) or"):
        meant(when.loss)
    with pytest.raises(TypeError, match=r"did you mean when\.epochs, the counter\?"):
        meant(when.epoch)
    assert when.loss == when.column("loss") != when.mae
