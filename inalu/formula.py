"""Formulas of what units compute: what one unit does to others' terms, as text and for SymPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy.typing as npt

from inalu.units import Unit
from loopctl_shared import how_to_install

try:
    import sympy
except ImportError as error:
    raise ImportError(
        f"Formulas need SymPy, which is not installed: {how_to_install('formula')}"
    ) from error

_JOINED, _NEGATED, _SUM, _PRODUCT, _POWER, _ATOM = range(6)  # how tightly a text holds together
_COMPARED = {
    "<": sympy.Lt,
    "<=": sympy.Le,
    "==": sympy.Eq,
    "!=": sympy.Ne,
    ">=": sympy.Ge,
    ">": sympy.Gt,
}


@dataclasses.dataclass(frozen=True)
class Term:
    """A formula: its text, how tightly that holds together, and the same for SymPy.

    A comparison is 1 where it holds and 0 elsewhere; "and", "or" and "not" are of numbers between
    0 and 1: the product, its dual and the difference from 1.
    """

    text: str
    binding: int
    expression: Any

    def within(self, binding: int) -> str:
        """The text, in parentheses if what is around it binds as tightly."""
        return self.text if self.binding > binding else f"({self.text})"


def variable(name: str) -> Term:
    """An input of that name."""
    return Term(name, _ATOM, sympy.Symbol(name))


def applied(unit: Unit, inputs: Sequence[Term]) -> Term:
    """What the unit makes of the terms of its inputs."""
    chosen = [(w, term) for w, term in zip(unit.weights, inputs, strict=True) if w]
    return _MAKERS.get(unit.operation, _constant)(unit.operation, chosen)


def read(expression: Any, names: Sequence[str]) -> Any:
    """An expression for SymPy, given as such or as text about inputs of these names."""
    # Or else an input named E were a number, and one named beta a function.
    return sympy.sympify(expression, locals={name: sympy.Symbol(name) for name in names})


def equal(a: Any, b: Any) -> bool:
    """Whether SymPy proves two expressions equal."""
    return bool(sympy.simplify(a - b) == 0)


def evaluate(
    expressions: Sequence[Any], symbols: Sequence[Any], columns: npt.NDArray[Any]
) -> list[Any]:
    """The values of expressions, given those of their symbols: (symbols, n) to n, or 1, each."""
    values: list[Any] = sympy.lambdify(symbols, list(expressions), "numpy")(*columns)
    return values


Chosen = Sequence[tuple[Fraction | int, Term]]


def _constant(operation: str, _: Chosen) -> Term:
    value = sympy.Integer(operation == "always")
    return Term(str(value), _ATOM, value)


def _sum(_: str, terms: Chosen) -> Term:
    """Positive terms first, so that no text begins with a minus if it can be helped."""
    ordered = sorted(terms, key=lambda entry: entry[0] < 0 or entry[1].text.startswith("-"))
    expression = sympy.Add(*(_number(weight) * term.expression for weight, term in terms))
    if not ordered:
        return Term("0", _ATOM, expression)
    if len(ordered) == 1 and ordered[0][0] == 1:
        return ordered[0][1]
    text = ""
    for weight, term in ordered:
        if abs(weight) != 1:
            part = f"{abs(weight)} * {term.within(_SUM)}"
        else:
            # After a minus, a sum needs parentheses; after a plus, it does not.
            part = term.within(_NEGATED if weight > 0 else _SUM)
        part = part if weight > 0 else f"-{part}"
        if text:
            part = f" - {part[1:]}" if part.startswith("-") else f" + {part}"
        text += part
    return Term(text, _SUM, expression)


def _product(_: str, factors: Chosen) -> Term:
    over = [(weight, term) for weight, term in factors if weight > 0]
    under = [(-weight, term) for weight, term in factors if weight < 0]
    expression = sympy.Mul(*(term.expression ** _number(weight) for weight, term in factors))
    if not factors:
        return Term("1", _ATOM, expression)
    if not under and len(over) == 1:
        return _power(*over[0])
    text = " * ".join(_power(*entry).within(_SUM) for entry in over) or "1"
    text += "".join(f" / {_power(*entry).within(_PRODUCT)}" for entry in under)
    return Term(text, _PRODUCT, expression)


def _power(exponent: Fraction | int, term: Term) -> Term:
    if exponent == 1:
        return term
    shown = str(exponent) if exponent == int(exponent) else f"({exponent})"
    expression = term.expression ** _number(exponent)
    return Term(f"{term.within(_POWER)} ** {shown}", _POWER, expression)


def _and(_: str, terms: Chosen) -> Term:
    factors = [_literal(*entry) for entry in terms]
    return _joined("and", "1", factors, sympy.Mul(*(f.expression for f in factors)))


def _or(_: str, terms: Chosen) -> Term:
    factors = [_literal(*entry) for entry in terms]
    expression = 1 - sympy.Mul(*(1 - f.expression for f in factors))
    return _joined("or", "0", factors, expression)


def _literal(weight: Fraction | int, term: Term) -> Term:
    if weight > 0:
        return term
    return Term(f"not {term.within(_POWER)}", _NEGATED, 1 - term.expression)


def _joined(word: str, neutral: str, factors: Sequence[Term], expression: Any) -> Term:
    if not factors:
        return Term(neutral, _ATOM, expression)
    if len(factors) == 1:
        return factors[0]
    # "x and y + z" would be right, and be misread.
    texts = [f.text if f.binding == _NEGATED else f.within(_SUM) for f in factors]
    return Term(f" {word} ".join(texts), _JOINED, expression)


def _comparison(operation: str, chosen: Chosen) -> Term:
    left, right = (term for _, term in sorted(chosen, key=lambda entry: -entry[0]))
    try:
        compared = _COMPARED[operation](left.expression, right.expression)
        expression = sympy.Piecewise((1, compared), (0, True))
    except TypeError:
        expression = sympy.nan  # 1 / 0 is in it, for which SymPy has no order
    texts = (side.within(_NEGATED) for side in (left, right))
    return Term(f"[{f' {operation} '.join(texts)}]", _ATOM, expression)


def _number(value: Fraction | int) -> Any:
    exact = Fraction(value)
    return sympy.Rational(exact.numerator, exact.denominator)


_MAKERS: dict[str, Callable[[str, Chosen], Term]] = {
    "+": _sum,
    "*": _product,
    "and": _and,
    "or": _or,
    **dict.fromkeys(_COMPARED, _comparison),
}
