"""The list as a page of the docs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults.judging import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "outside-faults.md"


def row(verdict: Verdict) -> str:
    """One fault, in a line of a table."""
    fault = verdict.fault
    lint = ", ".join(f"[{id}](lint.md#{id.lower()})" for id in verdict.lint)
    guard = "" if verdict.guard is None else ", ".join(verdict.guard) or "no"
    cells = (
        f"`{fault.id}`",
        fault.source,
        fault.describes,
        lint or ("meant" if fault.meant else "**no**"),
        ", ".join(f"`{keyword}`" for keyword in verdict.keywords)
        or ("" if verdict.guard else "**no**"),
        "yes" if verdict.snapshot else "no",
        guard,
    )
    return f"| {' | '.join(cells)} |"


def totals(verdicts: Sequence[Verdict]) -> str:
    return str(len(verdicts))


def page(verdicts: Sequence[Verdict]) -> str:
    return "\n".join(map(row, verdicts))
