"""What came of the benchmarks, beside the published figures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from inalu.benchmark import minimal, nalm
from inalu.benchmark.suite import Run
from inalu.result_tables import Rows

Outcomes = Mapping[Run, Sequence[Mapping[str, Any]]]


def interval(successes: int, seeds: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a rate of success, both bounds between 0 and 1.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = successes / seeds, z * z / seeds
    middle = (rate + weight / 2) / (1 + weight)
    half = z / (1 + weight) * (rate * (1 - rate) / seeds + weight / (4 * seeds)) ** 0.5
    # At the ends they are 0 and 1 but for rounding.
    return middle - half if successes else 0.0, middle + half if successes < seeds else 1.0


def shown(successes: int, seeds: int) -> str:
    """Successes and the bounds of their rate in percent: "9 [60, 98]"."""
    low, high = interval(successes, seeds)
    return f"{successes} [{100 * low:.0f}, {100 * high:.0f}]"


def nalm_tables(outcomes: Outcomes) -> dict[str, Rows]:
    """By operation: a row for each range, a column for each module."""
    tables = {}
    for operation in nalm.OPERATIONS:
        columns = {
            run.module: {str(o["range"]): o for o in found}
            for run, found in outcomes.items()
            if run.operation == operation
        }
        if columns:
            ranges = [r.name for r in nalm.RANGES]
            cells = [(name, *(_rate(of[name]) for of in columns.values())) for name in ranges]
            tables[operation] = Rows(("trained on", *columns), cells)
    return tables


def minimal_tables(outcomes: Outcomes) -> dict[str, Rows]:
    """By module: a row for each distribution; ours and the published successes by operation.

    A star marks where the published rate is outside of the interval of ours.
    """
    tables = {}
    for module, rows in _compared(outcomes).items():
        cells = [(name, *(_beside(*pair) for pair in pairs)) for name, pairs in rows.items()]
        tables[module] = Rows(("trained on", *nalm.OPERATIONS), cells)
    return tables


def disagreements(outcomes: Outcomes) -> int:
    """How many published rates of the minimal tasks are outside of the intervals of ours."""
    modules = _compared(outcomes).values()
    return sum(not _agree(*pair) for rows in modules for pairs in rows.values() for pair in pairs)


Pair = tuple[Mapping[str, Any], int]


def _compared(outcomes: Outcomes) -> dict[str, dict[str, list[Pair]]]:
    """By module and distribution: our outcome and the published successes of each operation."""
    modules = {}
    for run, found in outcomes.items():
        if run.operation is None:
            ours = {(o["distribution"], o["operation"]): o for o in found}
            modules[run.module] = {
                name: [
                    (ours[name, operation], figure)
                    for operation, figure in zip(nalm.OPERATIONS, published, strict=True)
                ]
                for name, published in minimal.PUBLISHED[run.module].items()
            }
    return modules


def _agree(outcome: Mapping[str, Any], published: int) -> bool:
    low, high = interval(outcome["successes"], outcome["seeds"])
    return low <= published / minimal.SEEDS <= high


def _rate(outcome: Mapping[str, Any]) -> str:
    return shown(outcome["successes"], outcome["seeds"])


def _beside(outcome: Mapping[str, Any], published: int) -> str:
    star = "" if _agree(outcome, published) else " *"
    return f"{_rate(outcome)} / {published}{star}"
