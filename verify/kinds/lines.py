"""The lines of the user's code that made what a violation is about."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from verify.find import Detector
from verify.graphs import Node, SourceLine
from verify.kinds.kind import Asked
from verify.kinds.violation import Violation

Check = Callable[[Detector, Any, Asked], list[Violation]]

_SHOWN = 3


def lines_of_ops(detector: Detector, nodes: Iterable[Node]) -> tuple[SourceLine, ...]:
    """The first few of the lines that made ops."""
    return tuple(dict.fromkeys(detector.step.lines_of(nodes)))[:_SHOWN]


def lines_of_writes(detector: Detector, paths: Iterable[str]) -> tuple[SourceLine, ...]:
    """The lines that write variables, given by their paths."""
    wanted = set(paths)
    writes = detector.flat.writes()
    return lines_of_ops(
        detector, (n for n, v in writes if v.path in wanted and detector.flow.inside(n))
    )


def lines_of_losses(detector: Detector) -> tuple[SourceLine, ...]:
    """The lines that make what the step differentiates."""
    losses = (_ancestors(detector, whole[0]) for whole in detector.flow.whole.values())
    found = (next(detector.step.lines_of(nodes), None) for nodes in losses)
    return tuple(dict.fromkeys(line for line in found if line is not None))[:_SHOWN]


def at_losses(check: Check) -> Check:
    """The check of a keyword whose violations are about what the step differentiates."""

    @functools.wraps(check)
    def checked(detector: Detector, expected: Any, asked: Asked) -> list[Violation]:
        found = check(detector, expected, asked)
        lines = lines_of_losses(detector) if found else ()
        return [dataclasses.replace(one, lines=lines) for one in found]

    return checked


def _ancestors(detector: Detector, index: int) -> Iterator[Node]:
    """An op and what it is computed from, the nearest first."""
    seen, queue = {index}, [index]
    for one in queue:
        node = detector.flat.nodes[one]
        yield node
        new = [source for source, _ in node.data if source not in seen]
        seen.update(new)
        queue += dict.fromkeys(new)


def lines_of_names(detector: Detector, names: Iterable[str]) -> tuple[SourceLine, ...]:
    """The lines that make ops, given by their ids, and that write variables, by their paths."""
    wanted = set(names)
    ops = [node for node in detector.flat.nodes if node.id in wanted]
    return lines_of_ops(detector, ops) or lines_of_writes(detector, wanted)
