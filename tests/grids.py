"""Grids of cases: all of one in the thorough profile, else a part that has every value of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import settings

# What conftest.py draws in the thorough profile; the others have less.
THOROUGH = 500
# One a line; written by ci/thorough.py.
LEFT = Path(__file__).parent / "thorough.txt"


def is_thorough() -> bool:
    """Whether all is to be run: every case, and many random examples."""
    return settings.default.max_examples >= THOROUGH


def left_to_thorough() -> set[str]:
    """Ids of tests that the default profile does not run: see ci/thorough.py."""
    return {line for line in LEFT.read_text().splitlines() if "::" in line}


def grid(rows: Sequence[Any], columns: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Pairs (row, column): each with each, or each row with one column, which take turns."""
    return pairs(rows, columns, whole=is_thorough())


def pairs(rows: Sequence[Any], columns: Sequence[Any], *, whole: bool) -> list[tuple[Any, Any]]:
    """Where not `whole`, every column is there as well, since there must be enough rows."""
    if whole:
        return [(row, column) for row in rows for column in columns]
    assert len(rows) >= len(columns), "a column would be left out"
    return [(row, columns[i % len(columns)]) for i, row in enumerate(rows)]
