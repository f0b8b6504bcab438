"""What a step may not contain, and how large it may be."""

from __future__ import annotations

import fnmatch
from typing import Any

from verify.detect import Detector
from verify.failure import Violation
from verify.selection import without_exceptions

_SHOWN = 6  # longer lists of ops are abridged


def forbids(detector: Detector, globs: Any) -> list[Violation]:
    if globs is None:
        raise TypeError("forbids: None is no glob: to check nothing, leave the keyword out")
    listed = [globs] if isinstance(globs, str) else list(globs)
    for glob in listed:
        if not isinstance(glob, str):
            raise TypeError(f"forbids: {glob!r} is no glob over op types")
    forbidden, exceptions = without_exceptions(listed)
    nodes = [node for node in detector.flat.nodes if detector.flow.inside(node)]
    there = {n.op for n in nodes if any(fnmatch.fnmatchcase(n.op, glob) for glob in forbidden)}
    allowed: set[str] = set()
    for glob in exceptions:
        taken = fnmatch.filter(there, glob)
        if not taken:
            raise ValueError(f"forbids: the exception '!{glob}' takes out nothing")
        allowed.update(taken)
    violations = []
    for glob in forbidden:
        places = [
            f"{node.op} at {node.id}"
            for node in nodes
            if fnmatch.fnmatchcase(node.op, glob) and node.op not in allowed
        ]
        if places:
            more = [f"and {len(places) - _SHOWN} more"] if len(places) > _SHOWN else []
            hints = (*places[:_SHOWN], *more)
            violations.append(Violation("forbids", f"no op {glob}", f"{len(places)}", hints))
    return violations


def max_ops(detector: Detector, limit: int) -> list[Violation]:
    count = sum(map(detector.flow.inside, detector.flat.nodes))
    return _at_most("max_ops", limit, count, "ops")


def max_bytes(detector: Detector, limit: int) -> list[Violation]:
    flat = detector.flat
    sizes = {
        node.id: value.nbytes
        for node in flat.nodes
        if detector.flow.inside(node) and (value := flat.constant((node.index, 0))) is not None
    }
    largest = sorted(sizes, key=lambda place: -sizes[place])[:3]
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
