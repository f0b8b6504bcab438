"""Weight decay: which variables shrink by a share of themselves, beside any gradient."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.kinds.contract_spelling import Globs, literal
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.selection import names, select
from verify.kinds.violation import Violation


def _check(detector: Detector, selection: Any, _: Asked) -> list[Violation]:
    expected = set[str]()
    if selection is not None:
        expected = {v.path for v in select(detector, selection, "decayed")}
    found = {update.variable.path for update in detector.flow.decayed}
    if expected == found:
        return []
    hints = []
    if extra := sorted(found - expected):
        hints.append(f"too many: {', '.join(extra)}")
    if missing := sorted(expected - found):
        hints.append(f"missing:  {', '.join(missing)}")
    return [Violation("decayed", names(expected), names(found), (*hints,))]


class _Decayed(Kind):
    keywords = (Keyword("decayed", Globs, _check, rank=5),)

    def find(self, detector: Detector) -> dict[str, Any]:
        paths = {update.variable.path for update in detector.flow.decayed}
        return {"decayed": tuple(sorted(paths))}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.listed("weight decay", facts.decayed)]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("weight decay", facts.decayed)]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {"decayed": [literal(path) for path in facts.decayed]} if facts.decayed else {}


KIND = _Decayed()
