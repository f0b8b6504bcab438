"""Numbers that follow a count: what they are at the edges, as text, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, StepHistory, when
from loopctl.compile.graph_counters import Progress

NUMBERS: list[Any] = [
    when.linear(0.1, 0.7, over=3),
    when.cosine(0.1, 0.7, over=3.5, of=when.epochs),
    when.piecewise([2, 4], [1e-3, 1.0, -2], of=when.batches - 1),
    when.minimum(when.linear(0, 1, over=3), when.cosine(1, 0, over=6)) * 0.1 + 2,
    when.maximum(when.loss.last(), 3) - when.linear(0, 1, over=2, of=when.loss.mean(2)),
]


def state(batches: int, *losses: float) -> Any:
    history = StepHistory.from_dict({"loss": np.array(losses)})
    return SimpleNamespace(batches=batches, epochs=batches // 3, reinit_history=history)


def test_the_graph_computes_what_the_host_does() -> None:
    progress = Progress(NUMBERS)

    @tf.function(jit_compile=True)
    def numbers() -> Any:
        return [number.evaluate(progress) for number in NUMBERS]

    for seen in (state(0), *(state(i, 4.0, 1.5 + i) for i in range(8))):
        counters = {"batches": seen.batches, "epochs": seen.epochs}
        progress.load(counters, seen.reinit_history, {})
        for number, found in zip(NUMBERS, numbers(), strict=True):
            assert found.dtype == tf.float64
            np.testing.assert_allclose(found, number.at(seen), rtol=1e-12, err_msg=repr(number))


def test_ends_are_exact_and_boundaries_belong_to_what_follows() -> None:
    linear, cosine = when.linear(0.1, 0.7, over=3), when.cosine(0.1, 0.7, over=3)
    for number in (linear, cosine):
        assert [number.at(state(i)) for i in (0, 3, 9)] == [0.1, 0.7, 0.7]
    assert cosine.at(state(1)) == pytest.approx(0.1 + 0.6 * (1 - math.cos(math.pi / 3)) / 2)
    steps = when.piecewise([2, 4], [1, 2, 3])
    assert [steps.at(state(i)) for i in range(6)] == [1, 1, 2, 2, 3, 3]


def test_of_nothing_seen_they_are_nan() -> None:
    for number in (
        when.linear(0, 1, over=2, of=when.loss.last()),
        when.piecewise([2], [0, 1], of=when.loss.last()),
        when.minimum(1, when.loss.last()),
        when.maximum(when.loss.last(), 1),
    ):
        assert math.isnan(number.at(state(1)))


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_the_text_of_a_number_is_that_number(number: Any) -> None:
    text = repr(number)
    assert repr(when.parse_value(text)) == text
    assert repr(when.parse_value(text.replace("when.", ""))) == text
    assert eval(text, {"when": when}).at(state(5, 1.5)) == number.at(state(5, 1.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: when.linear(0, 1, over=0), "over has to be above zero"),
        (lambda: when.cosine(0, math.inf, over=2), "inf is not finite"),
        (lambda: when.linear("0", 1, over=2), "'0' is not a number"),  # type: ignore[arg-type]
        (lambda: when.linear(0, 1, over=True), "True is not a number"),
        (lambda: when.linear(0, 1, over=2, of=3), "of=3 is not a counter"),  # type: ignore[arg-type]
        (lambda: when.piecewise([], [1]), "at least one boundary"),
        (lambda: when.piecewise([1], [1]), "one value more than boundaries"),
        (lambda: when.piecewise([2, 2], [1, 2, 3]), "each boundary has to be larger than the one"),
        (lambda: when.piecewise(2, [1, 2]), "two lists of numbers"),  # type: ignore[arg-type]
        (lambda: when.minimum(when.always, 1), "a number is needed"),
    ],
)
def test_other_arguments_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linear(0, 1)", "missing 1 required keyword-only argument"),
        ("linear(0, epochs, over=3)", "'epochs' is not a number"),
        ("linear(0, 1, ovr=3)", "unexpected keyword argument 'ovr'"),
        ("linaer(0, 1, over=3)", "Did you mean 'linear'?"),
        ("batches < 3", "which is a condition: a number is needed"),
        ("every(n=3)", "is not understood"),
        ("minimum(1)", "missing 1 required positional argument"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        when.parse_value(text, where="rate")
    assert str(error.value).startswith(f"rate is {text!r}, which is")
    assert message in str(error.value)
