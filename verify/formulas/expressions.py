"""Expressions as a person writes them: sums, products, powers, calls; each subexpression once."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import string
from collections.abc import Iterable, Iterator

_SUM, _PRODUCT, _POWER, _ATOM = range(4)  # how strongly they bind
_INFIX = {
    **{"*": _PRODUCT, "/": _PRODUCT, "@": _PRODUCT, "^": _POWER},
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "and", "or"), -1),
}
_LONGEST = 320  # characters of a formula with all that explains it
_DEEPEST = 16
_WORTH_A_NAME = 14  # characters of what occurs twice
_LEFT_OUT = "..."


@dataclasses.dataclass(frozen=True)
class Expression:
    """A name, a number, or something made of others.

    `kind`: ``name``, ``number``, ``sum``, ``call``, or an operator. `text`: the name, or what is
    called. `number`: its value. `signs`: of a sum, what each of its parts is multiplied by.
    `identity`: tells apart what is called alike, as two draws of random numbers.
    """

    kind: str
    parts: tuple[Expression, ...] = ()
    text: str = ""
    number: float = 0.0
    signs: tuple[float, ...] = ()
    identity: int = 0

    @functools.cached_property
    def digest(self) -> int:
        """Its hash: parts that occur often are hashed once."""
        own = (self.kind, self.text, self.number, self.signs, self.identity)
        return hash((own, tuple(part.digest for part in self.parts)))

    def __hash__(self) -> int:
        return self.digest

    @functools.cached_property
    def size(self) -> int:
        """About how many characters it takes to write, if nothing is left out."""
        return len(self.text) + sum(part.size + 3 for part in self.parts)


def name(text: str) -> Expression:
    return Expression("name", text=text)


def number(value: float) -> Expression:
    return Expression("number", number=float(value))


def call(text: str, *parts: Expression, identity: int = 0) -> Expression:
    return Expression("call", parts, text=text, identity=identity)


def infix(operator: str, left: Expression, right: Expression) -> Expression:
    """Two parts with an operator between; numbers are computed, ones left out."""
    if operator == "/" and right.kind == "number" and right.number:
        return weighted([(1 / right.number, left)])
    if operator == "*":
        for one, other in ((left, right), (right, left)):
            if one.kind == "number":
                return weighted([(one.number, other)])
        if _is_scaled(left):
            return weighted([(left.signs[0], infix("*", left.parts[0], right))])
        if _is_scaled(right):
            return weighted([(right.signs[0], infix("*", left, right.parts[0]))])
        for one, other in ((left, right), (right, left)):
            if one.kind == "/" and one.parts[0] == number(1):
                return infix("/", other, one.parts[1])
    if operator == "^" and right.kind == "number" and right.number == 1:
        return left
    return Expression(operator, (left, right))


def mean_of(part: Expression) -> Expression:
    """A mean of all; one of means along axes is that of what they are made of."""
    while part.kind == "call" and part.text == "mean":
        part = part.parts[0]
    return call("mean", part)


def derivative(of: Expression, by: Expression) -> Expression:
    """How something changes with something else."""
    return Expression("derivative", (of, by))


def weighted(terms: Iterable[tuple[float, Expression]]) -> Expression:
    """A sum of parts times numbers; sums within are opened, numbers added up."""
    signs: dict[Expression, float] = {}
    constant = 0.0
    for factor, part in terms:
        inner = [(1.0, part)]
        if part.kind == "sum":
            inner = list(zip(part.signs, part.parts, strict=True))
        for sign, one in inner:
            if one.kind == "number":
                constant += factor * sign * one.number
            else:
                signs[one] = signs.get(one, 0.0) + factor * sign
    # As many digits as the numbers of a step have.
    kept = {part: float(f"{sign:.6g}") for part, sign in signs.items() if sign}
    if not kept:
        return number(constant)
    if constant:
        kept[number(1.0)] = constant
    if len(kept) == 1 and next(iter(kept.values())) == 1:
        return next(iter(kept))
    return Expression("sum", (*kept,), signs=(*kept.values(),))


def _is_scaled(expression: Expression) -> bool:
    return expression.kind == "sum" and len(expression.parts) == 1


def written(expression: Expression) -> str:
    """The formula in one line, with ``where`` for what occurs several times; cut where too long."""
    for depth in range(_DEEPEST, 1, -1):
        text = _Writer(expression, depth).text
        if len(text) <= _LONGEST:
            return text
    return text[: _LONGEST - len(_LEFT_OUT)] + _LEFT_OUT


class _Writer:
    """Writes one expression, down to some depth."""

    def __init__(self, expression: Expression, depth: int) -> None:
        self.bound: dict[Expression, str] = {}
        self.draws = _numbered(expression)
        uses = collections.Counter(part for one in _each(expression) for part in one.parts)
        taken = {one.text for one in _each(expression) if one.kind == "name"}
        taken.add("d")  # that of derivatives
        letters = (letter for letter in _letters() if letter not in taken)
        several = [one for one in _each(expression) if uses[one] > 1 and one.size >= _WORTH_A_NAME]
        # What is made of others comes first: reading goes from the whole to its parts.
        explained = []
        for one, letter in zip(several, letters, strict=False):
            explained.append((letter, one))
            self.bound[one] = letter
        text = self._of(expression, depth)
        where = list[str]()
        for letter, one in explained:
            del self.bound[one]
            made_of = self._of(one, depth)
            self.bound[one] = letter
            if letter in _words(text) | _words(" ".join(where)):
                where.append(f"{letter} = {made_of}")
        self.text = f"{text} where {', '.join(where)}" if where else text

    def _of(self, one: Expression, depth: int, binding: int = -2) -> str:
        if one in self.bound:
            return self.bound[one]
        if one.kind == "name":
            return one.text
        if one.kind == "number":
            text, strength = f"{one.number:.6g}", _ATOM if one.number >= 0 else _SUM
        elif depth == 0:
            return _LEFT_OUT
        elif one.kind == "sum":
            text, strength = self._sum(one, depth)
        elif one.kind == "call":
            parts = ", ".join(self._of(part, depth - 1) for part in one.parts)
            text, strength = f"{one.text}{self.draws.get(one, '')}({parts})", _ATOM
            if one.text == "index":
                of, *rest = (self._of(part, depth - 1, _ATOM) for part in one.parts)
                text = f"{of}[{', '.join(rest)}]"
        elif one.kind == "derivative":
            of, by = (self._of(part, depth - 1, _ATOM) for part in one.parts)
            text, strength = f"d {of}/d {by}", _PRODUCT
        else:
            strength = _INFIX[one.kind]
            left, right = one.parts
            # a - b and a / b take what stands at their right as a whole, a ^ b at both sides.
            text = (
                self._of(left, depth - 1, strength + (one.kind == "^"))
                + (one.kind if one.kind == "^" else f" {one.kind} ")
                + self._of(right, depth - 1, strength + 1)
            )
        return f"({text})" if strength < binding else text

    def _sum(self, one: Expression, depth: int) -> tuple[str, int]:
        text = ""
        terms = sorted(zip(one.signs, one.parts, strict=True), key=lambda term: term[0] < 0)
        if one.signs[0] > 0:  # else what is subtracted comes after what it is subtracted from
            terms = list(zip(one.signs, one.parts, strict=True))
        for sign, part in terms:
            size = abs(sign)
            if part.kind == "number":
                term = f"{size * part.number:.6g}"
            elif size == 1:
                term = self._of(part, depth - 1, _PRODUCT)
            else:
                term = f"{size:.6g} * {self._of(part, depth - 1, _PRODUCT)}"
            if text:
                text += f" {'-' if sign < 0 else '+'} {term}"
            else:
                text = f"-{term}" if sign < 0 else term
        return text, _PRODUCT if len(one.parts) == 1 and one.signs[0] > 0 else _SUM


def _each(expression: Expression) -> list[Expression]:
    """All subexpressions once, the whole before its parts."""
    found: dict[Expression, None] = {}
    stack = [(expression, False)]
    while stack:
        one, done = stack.pop()
        if done:
            found[one] = None
        elif one not in found:
            stack.append((one, True))
            stack += [(part, False) for part in one.parts]
    return list(reversed(found))


def _letters() -> Iterator[str]:
    """Names for what has none: a, b, ..., a1, b1, ..."""
    for number in itertools.count():
        yield from (f"{letter}{number or ''}" for letter in string.ascii_lowercase)


def _numbered(expression: Expression) -> dict[Expression, str]:
    """Numbers for draws of random numbers that are called alike."""
    drawn: dict[str, list[Expression]] = {}
    for one in reversed(_each(expression)):
        if one.identity and one.kind == "call":
            drawn.setdefault(one.text, []).append(one)
    return {
        one: f"_{place}"
        for alike in drawn.values()
        if len(alike) > 1
        for place, one in enumerate(sorted(alike, key=lambda one: one.identity), start=1)
    }


def _words(text: str) -> set[str]:
    return {"".join(word) for is_word, word in _grouped(text) if is_word}


def _grouped(text: str) -> Iterator[tuple[bool, Iterator[str]]]:
    return itertools.groupby(text, key=lambda c: c.isalnum() or c == "_")
