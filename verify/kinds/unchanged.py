"""What a step leaves alone: variables that it does not write at all, trainable or not."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.kinds.contract_spelling import Globs, literal
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.selection import names, select
from verify.kinds.violation import Violation


def _check(detector: Detector, selection: Any, _: Asked) -> list[Violation]:
    if selection is None:
        raise TypeError("unchanged: None selects nothing: to check nothing, leave the keyword out")
    wanted = select(detector, selection, "unchanged", trainable=False)
    changed = detector.changed.by(wanted)
    if not changed:
        return []
    touched = {v.path: v for v in wanted if v.key in changed}
    hints = tuple(
        f"{path} is written by {node.id} ({detector.told_of(node, variable)})"
        for path, variable in sorted(touched.items())
        for node in changed[variable.key]
    )
    return [
        Violation(
            "unchanged", f"no write to {names(v.path for v in wanted)}", names(touched), hints
        )
    ]


class _Unchanged(Kind):
    keywords = (Keyword("unchanged", Globs, _check, rank=2),)

    def find(self, detector: Detector) -> dict[str, Any]:
        flat = detector.flat
        own = {v.key for _, v in flat.writes()}
        return {"read_only": tuple(sorted({v.path for _, v in flat.reads() if v.key not in own}))}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.listed("read only", facts.read_only)]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("read only", facts.read_only)]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {"unchanged": [literal(path) for path in facts.read_only]}


KIND = _Unchanged()
