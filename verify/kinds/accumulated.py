"""Accumulation: of how many calls the gradients are averaged for one update."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from verify.find import Accumulated, Detector
from verify.graphs import REDUCTIONS
from verify.kinds.contract_spelling import Off
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Cluster, Keyword, Kind, Read, Row
from verify.kinds.lines import lines_of_writes
from verify.kinds.selection import names
from verify.kinds.violation import UNTOLD, Violation

_KEYWORD = "accumulated"
_SEVERAL = (
    f"{UNTOLD}: the step runs on several replicas, which keep their own sums: assert on the "
    "same training on one device, or compare a few steps of both"
)
_WITHIN = (
    "the gradients of {} are added up within one call, of parts of a batch perhaps: `objective` "
    "tells whether they add up to the gradient of the whole"
)


def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    if expected is not None and (
        isinstance(expected, bool) or not isinstance(expected, int) or expected < 1
    ):
        raise TypeError(
            f"{_KEYWORD}: {expected!r} is not a number of calls: expected an int "
            "of at least 2, or None"
        )
    if expected is None or expected == 1:
        return _nothing(detector)
    wish = f"one update by the mean of the gradients of {expected} calls"
    if _is_spread(detector):
        return [Violation(_KEYWORD, wish, _SEVERAL)]
    found = detector.accumulation.of(max(expected, 2) * 2)
    if not found:
        return [Violation(_KEYWORD, wish, "no gradient reaches an update")]
    wrong: dict[str, list[int | str]] = {}
    for key, one in found.items():
        if told := _difference(one, expected):
            wrong.setdefault(told, []).append(key)
    violations = []
    for told, keys in wrong.items():
        paths = {detector.accumulation.path(key) for key in keys}
        hints = _hints(detector, {found[key] for key in keys}, keys)
        lines = lines_of_writes(detector, paths)
        violations.append(Violation(_KEYWORD, wish, f"{told}: {names(paths)}", hints, lines))
    return violations


def _nothing(detector: Detector) -> list[Violation]:
    """Whether each call is an update of its own."""
    accumulation = detector.accumulation
    if not accumulation.calls.may_wait:
        return []
    if _is_spread(detector):
        return [Violation(_KEYWORD, "an update in each call", _SEVERAL)]
    wrong: dict[str, list[str]] = {}
    for key, one in accumulation.of_any().items():
        if one.unknown or set(one.calls) != {1}:
            wrong.setdefault(_told(one), []).append(accumulation.path(key))
    return [
        Violation(
            _KEYWORD,
            "an update in each call",
            f"{told}: {names(paths)}",
            lines=lines_of_writes(detector, paths),
        )
        for told, paths in wrong.items()
    ]


def _is_spread(detector: Detector) -> bool:
    """Whether a step runs on several replicas, going by what they exchange if no model tells."""
    nodes = detector.flat.nodes
    return detector.step.replicas > 1 or any(node.op in REDUCTIONS for node in nodes)


def _difference(one: Accumulated, calls: int) -> str:
    """What is wrong with how a variable is updated; empty if nothing is."""
    return "" if one.of_mean == calls else _told(one)


def _told(one: Accumulated) -> str:
    if one.unknown:
        return f"{UNTOLD}: {one.unknown}"
    if not one.calls:
        return one.told
    if set(one.calls) == {1}:
        return "an update in each call"
    if len(set(one.calls)) > 1:
        return f"an update after {' and after '.join(map(str, one.calls))} calls by turns"
    by = one.told or "the mean of their gradients"
    return f"an update after each {one.calls[0]} calls, by {by}"


def _hints(detector: Detector, found: set[Accumulated], keys: list[int | str]) -> tuple[str, ...]:
    if any(set(one.calls) != {1} for one in found):
        return ()
    passes = {detector.accumulation.passes(key) for key in keys} - {1}
    told = (f"{count} backward passes" if count else "a loop" for count in sorted(passes))
    return tuple(_WITHIN.format(one) for one in told)


# -- contracts -------------------------------------------------------------------------------------

_Calls = Annotated[int, pydantic.Field(ge=1, description="Calls to an update.")]


def _read(place: str, said: Any, _: Read) -> Any:
    return None if said is False else said


class _Accumulated(Kind):
    keywords = (Keyword(_KEYWORD, Off | _Calls, _check, rank=4, read=_read),)
    cluster = Cluster("accumulation", "#abd46c", before="optimizer")

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"accumulated": detector.accumulation.steps}

    def page(self, facts: Facts) -> list[Row]:
        told = f"the mean of the gradients of {facts.accumulated} calls"
        return [Row.of("accumulated", [told] if facts.accumulated else ())]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {"accumulated": facts.accumulated} if facts.accumulated else {}

    def ops(self, detector: Detector) -> frozenset[int]:
        return detector.accumulation.ops


KIND = _Accumulated()
