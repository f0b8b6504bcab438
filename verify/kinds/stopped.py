"""Stopped variables: those that reach the loss behind a stopped gradient only."""

from __future__ import annotations

from typing import Any

from verify.find import Detector, stopped
from verify.kinds.facts import Facts
from verify.kinds.kind import Kind, Row


class _Stopped(Kind):
    def find(self, detector: Detector) -> dict[str, Any]:
        return {"stopped": stopped(detector.flow)}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.listed("stopped", facts.stopped)]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("stopped", facts.stopped)]


KIND = _Stopped()
