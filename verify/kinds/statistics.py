"""Moving statistics: which mixtures of what they held and of data a step moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from verify.find import Detector
from verify.graphs import VariableRef
from verify.kinds.contract_spelling import Globs, literal
from verify.kinds.facts import Facts, StatisticFact
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.lines import lines_of_writes
from verify.kinds.selection import known, names, select
from verify.kinds.violation import Violation


def _check(detector: Detector, selection: Any, _: Asked) -> list[Violation]:
    asked: dict[str, float | None] = {}
    if selection is not None:
        among = _could_move(detector)
        shares = selection.items() if isinstance(selection, Mapping) else [(selection, None)]
        for one, keeps in shares:
            if keeps is not None and (
                isinstance(keeps, bool) or not isinstance(keeps, int | float)
            ):
                raise TypeError(f"statistics: {one!r} keeps {keeps!r}, which is not a number")
            chosen = select(detector, one, "statistics", trainable=False, first=among)
            asked |= dict.fromkeys((v.path for v in chosen), keeps)
    return [*_moved(detector, {*asked}), *_kept(detector, asked)]


def _kept(detector: Detector, asked: Mapping[str, float | None]) -> list[Violation]:
    """Statistics that keep another share of themselves than was asked for."""
    others: dict[tuple[float, float], list[str]] = {}
    for fact in _facts(detector):
        keeps = asked.get(fact.variable)
        if keeps is not None and not np.isclose(fact.keeps, keeps, rtol=0, atol=1e-5):
            others.setdefault((keeps, fact.keeps), []).append(fact.variable)
    return [
        Violation("statistics", f"{names(paths)} to keep {keeps:.6g}", f"keeps {found:.6g}")
        for (keeps, found), paths in others.items()
    ]


def _facts(detector: Detector) -> Iterator[StatisticFact]:
    moved, paths = {*detector.written.statistics}, detector.step.paths
    for key, share in detector.moving.shares.items():
        if paths[key] in moved:
            yield StatisticFact(paths[key], float(f"{share:.6g}"))


def _moved(detector: Detector, expected: set[str]) -> list[Violation]:
    """Whether exactly these statistics move."""
    found = {*detector.written.statistics}
    if expected == found:
        return []
    hints = []
    if extra := sorted(found - expected):
        hints.append(f"too many: {', '.join(extra)}")
    if missing := sorted(expected - found):
        hints.append(f"not moved: {', '.join(missing)}")
        hints += _why_not_moved(detector, missing)
    lines = lines_of_writes(detector, extra)
    return [Violation("statistics", names(expected), names(found), (*hints,), lines)]


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
            "which is not a mixture of its old value and data"
            for node, one in writes
        ]
    if still:
        hints.append(f"{names(still)}: not written: the layer runs in inference mode, or is frozen")
    return hints


class _Statistics(Kind):
    keywords = (Keyword("statistics", Globs | dict[str, float | int], _check, rank=5),)

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"statistics": tuple(sorted(_facts(detector), key=lambda fact: fact.variable))}

    def page(self, facts: Facts) -> list[Row]:
        by: dict[float, list[str]] = {}
        for fact in facts.statistics:
            by.setdefault(fact.keeps, []).append(fact.variable)
        told = (f"{', '.join(paths)} keep {keeps:.6g}" for keeps, paths in sorted(by.items()))
        return [Row.of("moving statistics", told)]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("moving statistic", map(str, facts.statistics))]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        found = {literal(fact.variable): fact.keeps for fact in facts.statistics}
        return {"statistics": found} if found else {}


KIND = _Statistics()
