"""Expressions: how they are put together, and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.formulas.expressions import (
    Expression,
    call,
    derivative,
    infix,
    mean_of,
    name,
    number,
    weighted,
    written,
)
from verify.formulas.idioms import idiom, root

A, B, X = name("a"), name("b"), name("x")
NET = call("net", X)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (weighted([(1, A), (-1, weighted([(1, B), (-1, X)]))]), "a - b + x"),
        (weighted([(-1, A), (1, B)]), "b - a"),
        (weighted([(-1, A), (-2, B)]), "-a - 2 * b"),
        (weighted([(1, A), (-1, A)]), "0"),
        (weighted([(0.5, A), (0.5, A)]), "a"),
        (infix("*", weighted([(1, A), (1, B)]), X), "(a + b) * x"),
        (infix("*", A, weighted([(2, X)])), "2 * a * x"),
        (infix("/", A, number(4)), "0.25 * a"),
        (infix("/", A, infix("*", B, X)), "a / (b * x)"),
        (infix("*", A, infix("/", number(1), B)), "a / b"),
        (infix("^", weighted([(1, A), (-1, B)]), number(2)), "(a - b)^2"),
        (infix("^", infix("^", A, B), X), "(a^b)^x"),
        (mean_of(call("mean", A, name("axis=-1"))), "mean(a)"),
        (derivative(NET, X), "d net(x)/d x"),
        (infix("^", derivative(weighted([(1, A), (1, B)]), X), number(2)), "(d (a + b)/d x)^2"),
        (call("index", A, number(1)), "a[1]"),
    ],
)
def test_as_a_person_writes_it(expression: Expression, text: str) -> None:
    assert written(expression) == text


def test_what_occurs_twice_is_explained_once() -> None:
    deep = call("projection", call("encoder", X))
    assert written(infix("/", deep, call("norm", deep))) == (
        "a / norm(a) where a = projection(encoder(x))"
    )


def test_draws_that_differ_have_numbers() -> None:
    one, other = call("normal", identity=7), call("normal", identity=3)
    assert written(weighted([(1, one), (1, other)])) == "normal_2() + normal_1()"
    assert written(weighted([(1, one), (1, infix("*", X, one))])) == "normal() + x * normal()"


def test_the_letter_of_derivatives_is_no_name() -> None:
    pairs = [call(f"layer_number_{i}", X) for i in range(5)]
    text = written(weighted((1, infix("*", pair, call("norm", pair))) for pair in pairs))
    assert " d = " not in text
    assert " f = layer_number_4(x)" in text


def test_a_long_formula_is_cut() -> None:
    made = X
    for i in range(80):
        made = call(f"layer_{i}", made)
    assert len(written(made)) <= 320
    assert "..." in written(made)


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([A, B, X])), max_size=8))
def test_a_sum_has_each_part_once(terms: list[tuple[int, Expression]]) -> None:
    made = weighted(terms)
    for part in (A, B, X):
        sign = sum(sign for sign, one in terms if one == part)
        parts = dict(zip(made.parts, made.signs, strict=True)) if made.kind == "sum" else {made: 1}
        assert parts.get(part, 0) == sign


def test_the_same_part_many_times_over_takes_no_time() -> None:
    made = call("f", X)
    for _ in range(200):
        made = infix("*", made, made)
    assert len(written(made)) <= 320


SOFTENED = call(
    "log", weighted([(1, call("exp", weighted([(-1, call("abs", X))]))), (1, number(1))])
)
SQUARES = call("sum", infix("^", X, number(2)), name("axis=-1"))


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (call("where", infix(">=", X, number(0)), X, number(0)), "relu(x)"),
        (call("where", infix(">=", X, number(0)), weighted([(-1, X)]), X), "-abs(x)"),
        (call("max", call("min", X, number(1)), number(0)), "clip(x, 0, 1)"),
        (call("min", call("max", X, number(0)), number(1)), "clip(x, 0, 1)"),
        (
            infix("/", X, call("sqrt", call("max", SQUARES, number(1e-12)))),
            "l2_normalize(x, axis=-1)",
        ),
        (root(SQUARES), "norm(x, axis=-1)"),
        (
            weighted([(1, call("relu", X)), (-1, infix("*", X, A)), (1, SOFTENED)]),
            "sigmoid_crossentropy(a, x)",
        ),
        (
            weighted([(1, call("relu", X)), (-0.9, X), (1, SOFTENED)]),
            "sigmoid_crossentropy(0.9, x)",
        ),
        (weighted([(1, call("relu", X)), (1, SOFTENED)]), "sigmoid_crossentropy(0, x)"),
        # None of these.
        (call("where", infix(">=", X, number(1)), X, number(0)), "where(x >= 1, x, 0)"),
        (
            weighted([(1, call("relu", X)), (2, SOFTENED)]),
            "relu(x) + 2 * log(exp(-abs(x)) + 1)",
        ),
    ],
)
def test_what_has_a_name(made: Expression, text: str) -> None:
    assert written(idiom(made)) == text
