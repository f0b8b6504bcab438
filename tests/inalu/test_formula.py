"""Formulas as text: read again, they are the expression that SymPy is given."""

from __future__ import annotations

import ast
import operator
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inalu.formula import Term, applied, variable
from inalu.units import OPERATIONS, Unit

A, B, C = INPUTS = [variable(name) for name in "abc"]


def made(operation: str, *weights: Fraction | int, of: Sequence[Term] = INPUTS) -> Term:
    return applied(Unit(operation, weights, 0.0), of)


HALF = Fraction(1, 2)
DIFFERENCE = made("+", 1, -1, 0)
NEGATIVE = made("+", -1, 0, 0)
QUOTIENT = made("*", 1, -1, 0)
SQUARE = made("*", 2, 0, 0)
BOTH = made("and", 1, -1, 0)
NOT = made("and", 0, -1, 0)
BELOW = made("<", 1, 0, -1)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (made("+", 1, 1, -1), "a + b - c"),
        (made("+", -1, 0, 1), "c - a"),
        (made("+", -1, -1, 0), "-a - b"),
        (made("+", -2, HALF, 0), "1/2 * b - 2 * a"),
        (made("+", 0, 0, 0), "0"),
        (made("+", 1, 1, of=[DIFFERENCE, C]), "a - b + c"),
        (made("+", -1, 1, of=[DIFFERENCE, C]), "c - (a - b)"),
        (made("+", 2, 1, of=[DIFFERENCE, C]), "2 * (a - b) + c"),
        (made("+", 1, 1, of=[NEGATIVE, C]), "c - a"),
        (made("+", 1, -1, of=[C, NEGATIVE]), "c - (-a)"),
        (made("+", -1, 1, of=[QUOTIENT, C]), "c - a / b"),
        (made("+", 1, 1, of=[BOTH, NOT]), "(a and not b) + (not b)"),
        (made("+", 1, -1, of=[C, BELOW]), "c - [a < c]"),
        (made("*", 1, 1, 1), "a * b * c"),
        (made("*", -1, 1, 0), "b / a"),
        (made("*", -1, -2, 0), "1 / a / b ** 2"),
        (made("*", HALF, 0, -HALF), "a ** (1/2) / c ** (1/2)"),
        (made("*", 0, 0, 0), "1"),
        (made("*", 1, 1, of=[DIFFERENCE, C]), "(a - b) * c"),
        (made("*", 1, 1, of=[C, NEGATIVE]), "c * (-a)"),
        (made("*", 2, 0, of=[NEGATIVE, C]), "(-a) ** 2"),
        (made("*", -1, 1, of=[QUOTIENT, C]), "c / (a / b)"),
        (made("*", 1, 1, of=[C, QUOTIENT]), "c * a / b"),
        (made("*", 2, 0, of=[SQUARE, C]), "(a ** 2) ** 2"),
        (made("*", 1, -1, of=[C, SQUARE]), "c / a ** 2"),
        (made("*", 1, -1, of=[NOT, BOTH]), "(not b) / (a and not b)"),
        (made("*", 2, 1, of=[BELOW, C]), "[a < c] ** 2 * c"),
        (made("and", 1, 0, -1), "a and not c"),
        (made("or", -1, 0, 0), "not a"),
        (made("and", 0, 0, 0), "1"),
        (made("or", 0, 0, 0), "0"),
        (made("or", 1, 1, of=[BOTH, C]), "(a and not b) or c"),
        (made("or", -1, 1, of=[BOTH, NOT]), "not (a and not b) or not b"),
        (made("and", -1, 0, of=[NOT, C]), "not (not b)"),
        (made("and", 1, -1, of=[DIFFERENCE, QUOTIENT]), "(a - b) and not (a / b)"),
        (made("<", 1, -1, 0), "[a < b]"),
        (made("<", -1, 1, 0), "[b < a]"),
        (made("!=", 1, -1, of=[DIFFERENCE, BELOW]), "[a - b != [a < c]]"),
        (made("<", 1, -1, of=[NOT, BOTH]), "[(not b) < (a and not b)]"),
        (made("never", 0, 0, 0), "0"),
        (made("always", 0, 0, 0), "1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_text(term: Term, text: str) -> None:
    """Parentheses where they are needed, and no minus at the front if it can be helped."""
    assert term.text == text


ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
}


def evaluated(text: str, values: dict[str, Any]) -> Any:
    """A formula by the precedence of Python; "and", "or", "not" and [] as `Term` has them."""

    def of(node: Any) -> Any:
        match node:
            case ast.Name(name):
                return values[name]
            case ast.Constant(number):
                return Fraction(number)
            case ast.BinOp(left, kind, right):
                return ARITHMETIC[type(kind)](of(left), of(right))
            case ast.UnaryOp(ast.USub(), operand):
                return -of(operand)
            case ast.UnaryOp(ast.Not(), operand):
                return 1 - of(operand)
            case ast.BoolOp(ast.And(), operands):
                return sympy.prod([of(operand) for operand in operands])
            case ast.BoolOp(ast.Or(), operands):
                return 1 - sympy.prod([1 - of(operand) for operand in operands])
            case ast.List([ast.Compare(left, [kind], [right])]):
                return Fraction(ARITHMETIC[type(kind)](of(left), of(right)))
        raise ValueError(f"{ast.dump(node)} has no place in a formula")

    return of(ast.parse(text, mode="eval").body)


@st.composite
def units(draw: Any, count: int, operations: Any, factors: Any, powers: Any) -> Unit:
    operation = draw(operations)
    weights = {"+": factors, "*": powers}.get(operation, st.integers(-1, 1))
    if operation in ("+", "*", "and", "or"):
        return Unit(operation, tuple(draw(weights) for _ in range(count)), 0.0)
    sides = [0] * count
    if operation not in ("never", "always"):
        left, right = draw(st.permutations(range(count)))[:2]
        sides[left], sides[right] = 1, -1
    return Unit(operation, tuple(sides), 0.0)


def stacks(*choices: Any) -> Any:
    """Three layers of two outputs, the last of one, with operations, factors and powers given."""
    sizes = [(3, 2), (2, 2), (2, 1)]
    layers = [
        st.lists(units(inputs, *choices), min_size=outputs, max_size=outputs)
        for inputs, outputs in sizes
    ]
    return st.tuples(*layers)


def formula(stack: Any) -> Term:
    terms: Sequence[Term] = INPUTS
    for layer in stack:
        terms = [applied(unit, terms) for unit in layer]
    (term,) = terms
    return term


NUMBERS = st.fractions(-3, 3, max_denominator=4)


@settings(max_examples=60)
@given(
    stacks(st.sampled_from(OPERATIONS), st.integers(-2, 2), st.integers(0, 2)),
    NUMBERS,
    NUMBERS,
    NUMBERS,
)
def test_text_and_expression_are_the_same(stack: Any, a: Any, b: Any, c: Any) -> None:
    """Of all that is defined everywhere: exactly, in fractions."""
    term = formula(stack)
    found = evaluated(term.text, {"a": a, "b": b, "c": c})
    numbers = {x.expression: sympy.Rational(v) for x, v in zip(INPUTS, (a, b, c), strict=True)}
    assert sympy.Rational(found) == term.expression.xreplace(numbers)


HALVES = st.fractions(-2, 2, max_denominator=2)
POSITIVE = st.floats(0.25, 4.0)


@settings(max_examples=60)
@given(stacks(st.sampled_from("+*"), HALVES, HALVES), POSITIVE, POSITIVE, POSITIVE)
def test_arithmetic_is_python(stack: Any, a: float, b: float, c: float) -> None:
    """With quotients and roots, and as SymPy compiles it."""
    term = formula(stack)
    with mpmath.workdps(100):  # lest what is left of x - x be taken for a number
        numbers = [mpmath.mpf(value) for value in (a, b, c)]
        try:
            found = eval(term.text, {}, dict(zip("abc", numbers, strict=True)))
        except ZeroDivisionError:
            assume(False)
        assume(not isinstance(found, mpmath.mpc))  # a root of a negative number is in it
        compiled = sympy.lambdify(list("abc"), term.expression, "mpmath")(*numbers)
        assert mpmath.almosteq(found, compiled, 1e-20, 1e-20)


@pytest.mark.parametrize("divisor", [made("+", 0, 0, 0), made("<", 1, -1, 0)])
def test_what_sympy_can_not_compare_is_undefined(divisor: Term) -> None:
    infinite = made("*", -1, of=[divisor])
    term = made("<", 1, -1, of=[infinite, BELOW])
    assert term.text == f"[1 / {divisor.text} < [a < c]]"
    assert term.expression is sympy.nan
