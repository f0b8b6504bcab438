"""Conditions: by which expression of counters and other variables a step chooses its branches."""

from __future__ import annotations

import ast
import fnmatch
import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from loopctl_shared import near_spellings
from verify.find import Chosen, Condition, Detector
from verify.kinds.contract_spelling import Off, literal
from verify.kinds.facts import ConditionFact, Facts
from verify.kinds.kind import Asked, Keyword, Kind, Read, Row
from verify.kinds.violation import Violation
from verify.match import NoValueError

_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_UNARY: dict[type[ast.AST], Callable[[Any], Any]] = {ast.Not: operator.not_, ast.USub: operator.neg}
_NUMBERS = (0, 1, 2, 3, 5, 8, 40)  # that counters may hold, besides those near a bound
_BESIDE = 1e-3  # of a bound: how near real numbers are
_CONTEXTS = 12  # what others hold while one is at a bound
_MOST = 200  # combinations of these that are tried


def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    found = detector.conditions
    if expected is None:
        told = "; ".join(str(ConditionFact(one.name, one.value)) for one in found)
        return [Violation("conditions", "no expression chooses", told)] if found else []
    if not isinstance(expected, Mapping) or not all(
        isinstance(part, str) for pair in expected.items() for part in pair
    ):
        raise TypeError(f"conditions: {expected!r} is not a dict of expressions by variable")
    violations: list[Violation] = []
    for glob, text in expected.items():
        chosen = [one for one in found if one.name and _meant(glob, one.name)]
        if not chosen:
            near = near_spellings(glob, [one.name for one in found if one.name])
            told = f"no such variable is set by an expression{f': {near[0]} is' if near else ''}"
            violations.append(Violation("conditions", f"{glob} where {text}", told))
        for one in chosen:
            difference = _difference(detector, one, text)
            if difference is not None:
                hints = (difference,) if difference else ()
                wish = f"{one.name} where {text}"
                violations.append(Violation("conditions", wish, f"where {one.value}", hints))
    return violations


def _meant(glob: str, path: str) -> bool:
    return glob == path or fnmatch.fnmatchcase(path, glob)


def _difference(detector: Detector, condition: Condition, text: str) -> str | None:
    """Where a condition is not as a text says, empty if that is not known; None if it is."""
    if _plain(text) == _plain(condition.value):
        return None
    named = {v.path.rsplit("/", 1)[-1]: v for v in condition.variables}
    names = {name: variable.path for name, variable in named.items()}
    wanted = _parsed(text)
    unknown = {node.id for node in ast.walk(wanted) if isinstance(node, ast.Name)} - {*names}
    if unknown:
        return f"it is not made of {', '.join(sorted(unknown))}"
    there = Chosen(detector.flat, condition)
    real = {name: "float" in variable.dtype for name, variable in named.items()}
    every = [*_held(real, f"{text} {condition.value}")]
    for held in (*every, *_at_bounds(wanted, real, every)):
        try:
            wish = bool(_value(wanted, held))
            found = there.where({names[name]: number for name, number in held.items()})
        except ZeroDivisionError:
            continue
        except NoValueError:
            return ""
        if found != wish:
            told = ", ".join(f"{name} = {number:.7g}" for name, number in held.items())
            return f"they differ where {told}"
    return None


def _plain(text: str) -> str:
    try:
        return ast.unparse(ast.parse(text, mode="eval"))
    except SyntaxError:
        return text


def _parsed(text: str) -> ast.expr:
    """
    Raises:
        ValueError: it is no expression.
    """
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"conditions: {text!r} is not an expression: {error.msg}") from None


def _value(node: ast.expr, held: Mapping[str, float]) -> Any:
    """What an expression is where its names stand for these numbers; no name of Python's means any.

    Raises:
        ValueError: it is more than arithmetic and comparisons.
    """
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return value
        case ast.Name(id=name) if name in held:
            return held[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand, held))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, held), _value(right, held))
        case ast.BoolOp(op=op, values=values):
            every = [bool(_value(value, held)) for value in values]
            return all(every) if isinstance(op, ast.And) else any(every)
        case ast.Compare(left=left, ops=ops, comparators=others) if {*map(type, ops)} <= {*_BINARY}:
            sides = [_value(one, held) for one in (left, *others)]
            pairs = zip(ops, itertools.pairwise(sides), strict=True)
            return all(_BINARY[type(op)](*pair) for op, pair in pairs)
    raise ValueError(
        f"conditions: {ast.unparse(node)!r} is more than arithmetic and comparisons of variables: "
        "write the condition as the facts show it"
    )


def _held(real: Mapping[str, bool], text: str) -> Iterator[dict[str, float]]:
    """What variables may hold, near the numbers of a text above all; `real`: by name."""
    columns = [_reals(text) if one else _wholes(text) for one in real.values()]
    every: Iterable[tuple[float, ...]] = itertools.product(*columns)
    if math.prod(map(len, columns)) > _MOST:
        rng = np.random.default_rng(0)
        drawn = [rng.choice(len(column), size=_MOST) for column in columns]
        rows = zip(*drawn, strict=True)
        every = (tuple(c[i] for c, i in zip(columns, row, strict=True)) for row in rows)
    for row in every:
        yield dict(zip(real, row, strict=True))


def _at_bounds(
    wanted: ast.expr, real: Mapping[str, bool], every: list[dict[str, float]]
) -> Iterator[dict[str, float]]:
    """What real variables may hold on both sides of where two sides of a comparison are equal.

    Going by a straight line through what it compares: that is all a sum of products needs.
    """
    pairs = [
        pair
        for node in ast.walk(wanted)
        if isinstance(node, ast.Compare)
        for pair in itertools.pairwise((node.left, *node.comparators))
    ]
    some = np.random.default_rng(0).choice(len(every), size=_CONTEXTS)
    for (left, right), name in itertools.product(pairs, (n for n, one in real.items() if one)):
        for held in (every[i] for i in some):
            moved = {**held, name: held[name] + 1.0}
            try:
                off, other = (_value(left, h) - _value(right, h) for h in (held, moved))
                there = held[name] - off / (other - off)
            except ZeroDivisionError:
                continue
            apart = _BESIDE * max(abs(there), _BESIDE)
            yield from ({**held, name: there + side} for side in (apart, -apart))


def _wholes(text: str) -> list[int]:
    words = "".join(sign if sign.isdigit() else " " for sign in text).split()
    near = {int(word) + off for word in words if len(word) < 10 for off in (-1, 0, 1)}
    return sorted({*_NUMBERS, *near} - {-1})


def _reals(text: str) -> list[float]:
    """Numbers of both signs beside the bounds of a text, and between any two of them.

    The bounds themselves only if they are exact in half precision: elsewhere, rounding decides.
    """
    found = {float(word) for word in re.findall(r"\d+(?:\.\d*)?(?:e[+-]?\d+)?", text)}
    bounds = sorted({sign * number for number in (*_NUMBERS, *found) for sign in (1.0, -1.0)})
    between = [(one + other) / 2 for one, other in itertools.pairwise(bounds)]
    beside = [bound * (1 + sign * _BESIDE) for bound in bounds for sign in (1, -1)]
    exact = [bound for bound in bounds if float(np.float16(bound)) == bound]
    return sorted({*between, *beside, *exact})


# -- contracts -------------------------------------------------------------------------------------


def _read(place: str, said: Any, _: Read) -> Any:
    return None if said is False else said


class _Conditions(Kind):
    keywords = (
        Keyword("conditions", Off | dict[str, str], _check, rank=7, read=_read, by_entry=True),
    )

    def find(self, detector: Detector) -> dict[str, Any]:
        found = (ConditionFact(one.name, one.value) for one in detector.conditions)
        return {"conditions": tuple(found)}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("conditions", map(str, facts.conditions))]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("condition", map(str, facts.conditions))]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        named = {literal(one.variable): one.value for one in facts.conditions if one.variable}
        return {"conditions": named} if named else {}


KIND = _Conditions()
