"""What a step writes besides what it trains: optimizer state, metrics, counters."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.kinds.facts import Facts
from verify.kinds.kind import Kind, Row


class _OtherWrites(Kind):
    def find(self, detector: Detector) -> dict[str, Any]:
        return {}  # they are fields of `Facts.written`, which the kind of trained variables fills

    def page(self, facts: Facts) -> list[Row]:
        written = facts.written
        return [
            Row.listed("optimizer state", written.slots),
            Row.listed("accumulators", written.accumulators),
            Row.listed("metrics and state", written.metrics),
            Row.listed("counters", written.counters),
        ]

    def snapshot(self, facts: Facts) -> list[Row]:
        written = facts.written
        return [
            Row.of("optimizer state", written.slots),
            Row.of("accumulator", written.accumulators),
            Row.of("metric or state", written.metrics),
            Row.of("counter", written.counters),
        ]


KIND = _OtherWrites()
