"""Weight decay: which variables shrink by a share of themselves, beside any gradient."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.kinds.contract_spelling import Globs, literal
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.lines import lines_of_writes
from verify.kinds.selection import frozen_among, names, select
from verify.kinds.violation import Violation


def _check(detector: Detector, selection: Any, _: Asked) -> list[Violation]:
    expected = set[str]()
    if selection is not None:
        expected = {v.path for v in select(detector, selection, "decayed")}
    found = detector.decayed
    if expected == found:
        return []
    hints = [f"{path} grows by a share of itself" for path in sorted(detector.growing)]
    if extra := sorted(found - expected):
        hints.append(f"too many: {', '.join(extra)}")
    if missing := sorted(expected - found):
        hints.append(f"missing:  {', '.join(missing)}")
        hints += frozen_among(detector, missing)
    lines = lines_of_writes(detector, expected ^ found)
    return [Violation("decayed", names(expected), names(found), (*hints,), lines)]


class _Decayed(Kind):
    keywords = (Keyword("decayed", Globs, _check, rank=5),)

    def find(self, detector: Detector) -> dict[str, Any]:
        return {
            "decayed": (*sorted(detector.decayed),),
            "growing": (*sorted(detector.growing),),
        }

    def page(self, facts: Facts) -> list[Row]:
        return [Row.listed("weight decay", facts.decayed), Row.listed("growth", facts.growing)]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("weight decay", facts.decayed), Row.of("growth", facts.growing)]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {"decayed": [literal(path) for path in facts.decayed]} if facts.decayed else {}


KIND = _Decayed()
