"""Variables that a step reads and never writes."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.kinds.facts import Facts
from verify.kinds.kind import Kind, Row


class _ReadOnly(Kind):
    def find(self, detector: Detector) -> dict[str, Any]:
        flat = detector.flat
        own = {v.key for _, v in flat.writes()}
        return {"read_only": tuple(sorted({v.path for _, v in flat.reads() if v.key not in own}))}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.listed("read only", facts.read_only)]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("read only", facts.read_only)]


KIND = _ReadOnly()
