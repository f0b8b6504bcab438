"""Weights that were frozen after a step was traced: the graph goes on training them."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.kinds.facts import Facts
from verify.kinds.kind import Kind, Row
from verify.kinds.selection import names
from verify.step import Step

LATE = "frozen after tracing, so it is still trained: compile again"


def frozen_late(step: Step) -> tuple[str, ...]:
    """Their paths, also where it is the graph that ``fit`` runs which goes on."""
    late = step.frozen_late | step.frozen_behind_fit
    paths = {v.key: v.path for v in (*step.model_weights, *step.variables)}
    return tuple(sorted(paths[key] for key in late))


class _FrozenLate(Kind):
    def find(self, detector: Detector) -> dict[str, Any]:
        return {"frozen_late": frozen_late(detector.step)}

    def page(self, facts: Facts) -> list[Row]:
        if not facts.frozen_late:
            return []
        return [Row.of("stale", [f"{names(facts.frozen_late)}: {LATE}"])]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("stale", [f"{path}: {LATE}" for path in facts.frozen_late])]


KIND = _FrozenLate()
