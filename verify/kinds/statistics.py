"""Moving statistics: which mixtures of what they held and of data a step moves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from verify.find import Detector
from verify.graphs import VariableRef
from verify.kinds.contract_spelling import Globs, literal
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.selection import known, names, select
from verify.kinds.violation import Violation


def _check(detector: Detector, selection: Any, _: Asked) -> list[Violation]:
    expected = set[str]()
    if selection is not None:
        among = _could_move(detector)
        chosen = select(detector, selection, "statistics", trainable=False, first=among)
        expected = {v.path for v in chosen}
    found = {*detector.written.statistics}
    if expected == found:
        return []
    hints = []
    if extra := sorted(found - expected):
        hints.append(f"too many: {', '.join(extra)}")
    if missing := sorted(expected - found):
        hints.append(f"not moved: {', '.join(missing)}")
        hints += _why_not_moved(detector, missing)
    return [Violation("statistics", names(expected), names(found), (*hints,))]


def _could_move(detector: Detector) -> list[VariableRef]:
    """What moves, and the real weights of the known model that could not be trained.

    What is written from weights or gradients alone is none.
    """
    moving, own = {*detector.written.statistics}, {v.key for v in detector.step.model_weights}
    written, flow = detector.written, detector.flow
    others = {*written.averages, *written.slots, *written.accumulators, *written.counters}

    def could(v: VariableRef) -> bool:
        is_state = v.key in own and not v.trainable and not flow.is_trainable(v)
        return is_state and "float" in v.dtype and v.path not in others

    return [v for v in known(detector) if v.path in moving or could(v)]


def _why_not_moved(detector: Detector, missing: Iterable[str]) -> list[str]:
    written, by_path = detector.writes.by_key, {v.path: v for v in known(detector)}
    still, hints = list[str](), list[str]()
    for path in missing:
        variable = by_path.get(path)
        writes = written.get(variable.key, ()) if variable is not None else ()
        if not writes:
            still.append(path)
        hints += [
            f"{path} is written by {node.id} ({detector.told_of(node, one)}), "
            "which is no mixture of what it held and of data"
            for node, one in writes
        ]
    if still:
        hints.append(f"{names(still)}: not written: the layer runs in inference mode, or is frozen")
    return hints


class _Statistics(Kind):
    keywords = (Keyword("statistics", Globs, _check, rank=5),)

    def find(self, detector: Detector) -> dict[str, Any]:
        return {}  # they are a field of `Facts.written`, which the kind of trained variables fills

    def page(self, facts: Facts) -> list[Row]:
        return [Row.listed("moving statistics", facts.written.statistics)]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("moving statistic", facts.written.statistics)]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        found = [literal(path) for path in facts.written.statistics]
        return {"statistics": found} if found else {}


KIND = _Statistics()
