"""Ops: how many a step has, how large it is, and which of them people tend to forbid."""

from __future__ import annotations

import fnmatch
import math
import re
from collections import Counter
from typing import Annotated, Any

import pydantic
import tensorflow as tf

from loopctl_shared import near_spellings
from verify.find import CALLBACKS, Detector, hazards
from verify.graphs import Node, VariableRef, op_definition
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.lines import lines_of_ops
from verify.kinds.selection import without_exceptions
from verify.kinds.violation import Violation

_SHOWN = 6  # longer lists of ops are abridged
_NEAR = 3  # so many op types are told that a misspelt glob may have meant
_LARGEST = 3  # so many of the largest constants are told
_CALLBACK_GLOBS = sorted(CALLBACKS)


def _inside(detector: Detector) -> list[Node]:
    return [node for node in detector.flat.nodes if detector.flow.inside(node)]


def _constants(detector: Detector) -> dict[str, int]:
    """Bytes of each constant, by the id of its node."""
    flat = detector.flat
    return {
        node.id: value.nbytes
        for node in _inside(detector)
        if (value := flat.constant((node.index, 0))) is not None
    }


def _bytes(variable: VariableRef) -> int:
    sizes = [size or 0 for size in variable.shape]
    return math.prod(sizes) * int(tf.as_dtype(variable.dtype or "float32").size)


# -- what was asserted -----------------------------------------------------------------------------


def _forbids(detector: Detector, globs: Any, _: Asked) -> list[Violation]:
    if globs is None:
        raise TypeError("forbids: None is no glob: to check nothing, leave the keyword out")
    listed = [globs] if not isinstance(globs, list | tuple | set) else [*globs]
    for glob in listed:
        if not isinstance(glob, str):
            raise TypeError(f"forbids: {glob!r} is no glob over op types")
    forbidden, exceptions = without_exceptions(listed)
    nodes = _inside(detector)
    for glob in forbidden:
        _check_that_it_can_match(glob, detector)
    there = {n.op for n in nodes if any(fnmatch.fnmatchcase(n.op, glob) for glob in forbidden)}
    allowed: set[str] = set()
    for glob in exceptions:
        taken = fnmatch.filter(there, glob)
        if not taken:
            raise ValueError(f"forbids: the exception '!{glob}' excludes nothing")
        allowed.update(taken)
    violations = []
    for glob in forbidden:
        there_of = [
            node for node in nodes if fnmatch.fnmatchcase(node.op, glob) and node.op not in allowed
        ]
        places = [f"{node.op} at {node.id}" for node in there_of]
        if places:
            more = [f"and {len(places) - _SHOWN} more"] if len(places) > _SHOWN else []
            hints = (*places[:_SHOWN], *more)
            wish, lines = f"no op {glob}", lines_of_ops(detector, there_of)
            violations.append(Violation("forbids", wish, f"{len(places)}", hints, lines))
    return violations


def _check_that_it_can_match(glob: str, detector: Detector) -> None:
    """A misspelt glob would forbid nothing, and be kept for ever."""
    # Of all op types some, such as those that only Grappler makes, are in no `tf.raw_ops`.
    if op_definition(glob) is not None:
        return
    every = {*dir(tf.raw_ops), *(node.op for node in detector.flat.nodes)}
    op_types = sorted(op for op in every if not op.startswith("__"))
    if not fnmatch.filter(op_types, glob):
        near = near_spellings(re.sub(r"[*?!\[\]]", "", glob), op_types, _NEAR)
        told = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"forbids: {glob!r} matches no op type of TensorFlow or of the step{told}")


def _max_ops(detector: Detector, limit: int, _: Asked) -> list[Violation]:
    return _at_most("max_ops", limit, len(_inside(detector)), "ops")


def _max_bytes(detector: Detector, limit: int, _: Asked) -> list[Violation]:
    sizes = _constants(detector)
    largest = sorted(sizes, key=lambda place: -sizes[place])[:_LARGEST]
    hints = tuple(f"{sizes[place]} bytes at {place}" for place in largest)
    return _at_most("max_bytes", limit, sum(sizes.values()), "bytes of constants", hints)


def _at_most(
    keyword: str, limit: int, found: int, unit: str, hints: tuple[str, ...] = ()
) -> list[Violation]:
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{keyword}: {limit!r} is no int")
    if found <= limit:
        return []
    return [Violation(keyword, f"at most {limit} {unit}", f"{found}", hints)]


# -- contracts -------------------------------------------------------------------------------------


def _needed(detector: Detector, said: Any) -> Any:
    """`said` without exceptions that except nothing."""
    if not isinstance(said, list):
        return said
    forbidden, _ = without_exceptions(said)
    there = {
        node.op
        for node in detector.flat.nodes
        if any(fnmatch.fnmatchcase(node.op, glob) for glob in forbidden)
    }
    return [glob for glob in said if not glob.startswith("!") or fnmatch.filter(there, glob[1:])]


class _Ops(Kind):
    keywords = (
        Keyword(
            "forbids",
            Annotated[
                str | list[str],
                pydantic.Field(description="Globs over op types; `!glob` makes an exception."),
            ],
            _forbids,
            rank=6,
            tight=_needed,
        ),
        Keyword(
            "max_ops",
            Annotated[int, pydantic.Field(ge=0)],
            _max_ops,
            rank=7,
            tight=lambda detector, said: min(said, len(_inside(detector))),
        ),
        Keyword(
            "max_bytes",
            Annotated[int, pydantic.Field(ge=0)],
            _max_bytes,
            rank=8,
            tight=lambda detector, said: min(said, sum(_constants(detector).values())),
        ),
    )

    def find(self, detector: Detector) -> dict[str, Any]:
        counts = Counter(node.op for node in _inside(detector))
        return {
            "hazards": hazards(detector.flow),
            "ops": tuple(sorted(counts.items())),
            "constant_bytes": sum(_constants(detector).values()),
            "variable_bytes": sum(_bytes(v) for v in detector.flat.variables.values()),
        }

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("hazards", (f"{h.kind}: {h.count} {h.op}" for h in facts.hazards))]

    def snapshot(self, facts: Facts) -> list[Row]:
        # Without counts, which another version of TensorFlow may change.
        return [Row.of("hazard", (f"{h.op} ({h.kind})" for h in facts.hazards))]

    def limits(self, facts: Facts) -> dict[str, Any]:
        there = {hazard.op for hazard in facts.hazards if hazard.op in CALLBACKS}
        return {
            "forbids": [*_CALLBACK_GLOBS, *(f"!{op}" for op in sorted(there))],
            "max_ops": facts.op_count,
            "max_bytes": facts.constant_bytes,
        }


KIND = _Ops()
