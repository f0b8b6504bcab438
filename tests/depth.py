"""How deep a run goes: what the quick profile takes of a grid or of random examples.

`HYPOTHESIS_PROFILE=thorough` takes all of it; CONTRIBUTING.md says how much that is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

First = TypeVar("First")
Second = TypeVar("Second")

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def drawn(quick: int, thorough: int) -> int:
    """How many random examples a slow test takes."""
    return thorough if THOROUGH else quick


def grid(first: Sequence[First], second: Sequence[Second]) -> list[tuple[First, Second]]:
    """Pairs for a parametrised test: all of them, or each value of `first` once.

    With it goes the next value of `second`, in turn: each is there, if `first` is the longer one.
    """
    if THOROUGH:
        return [(one, other) for one in first for other in second]
    return [(one, second[i % len(second)]) for i, one in enumerate(first)]
