"""Random numbers: whether each step draws others."""

from __future__ import annotations

from typing import Any, Literal

from verify.find import Detector, RandomNumbers
from verify.kinds.contract_spelling import Off
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Read, Row
from verify.kinds.lines import lines_of_ops
from verify.kinds.violation import Violation
from verify.references import Untraced

_FRESH = "fresh"
_ANOTHER = "another one in another trace: it was made"
_OF_MANY = "of many numbers, which may have been drawn"
_SHOWN = 6  # constants that are named


def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    if expected is not None and not (isinstance(expected, str) and expected == _FRESH):
        raise TypeError(f"draws: {expected!r} is neither {_FRESH!r} nor None, which means none")
    found = detector.draws.all
    if expected is None:
        drawn = [_named(one) for one in found]
        told = f"what is trained depends on random numbers: {', '.join(drawn)}"
        lines = lines_of_ops(detector, (one.node for one in found))
        return [Violation("draws", "no random numbers", told, lines=lines)] if drawn else []
    wish = "different random numbers in every step"
    violations = [
        Violation(
            "draws",
            wish,
            f"{_named(one)} draws {one.frozen}",
            lines=lines_of_ops(detector, [one.node]),
        )
        for one in found
        if one.frozen
    ]
    try:
        constants, told = detector.draws.frozen_constants, _ANOTHER
    except Untraced:
        # Of a graph alone, only seeds are known.
        constants, told = detector.draws.doubtful_constants, _OF_MANY
    for node in constants[:_SHOWN]:
        text = f"{node.id} is a constant, {told} while tracing"
        lines = lines_of_ops(detector, [node])
        violations.append(Violation("draws", wish, text, (_MADE,), lines))
    return violations


_MADE = (
    "numbers that NumPy or Python make, or a Python variable holds, are frozen into the graph: "
    "draw by tf.random or keras.random, count in a tf.Variable, or pass them as an argument"
)


def _named(one: RandomNumbers) -> str:
    return f"{one.node.op} ({one.node.id})"


def _read(place: str, said: Any, _: Read) -> Any:
    return None if said is False else said


class _Draws(Kind):
    keywords = (Keyword("draws", Literal["fresh"] | Off, _check, rank=4, read=_read),)

    def find(self, detector: Detector) -> dict[str, Any]:
        found = detector.draws.all
        frozen = (f"{_named(one)} {one.frozen}" for one in found if one.frozen)
        return {"draws": len(found), "frozen_draws": tuple(frozen)}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("same random numbers in every step", facts.frozen_draws)]

    def snapshot(self, facts: Facts) -> list[Row]:
        # Not by how many ops: a spelling may take more of them.
        told = "none" if not facts.draws else "frozen" if facts.frozen_draws else _FRESH
        return [Row.of("random numbers", [told] if facts.draws else [])]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {"draws": _FRESH} if facts.draws and not facts.frozen_draws else {}


KIND = _Draws()
