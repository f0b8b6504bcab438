"""Whether two steps leave the same in a variable, measured by how much they have changed it."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_TOLERANCE = 1e-4  # of the largest change: constants have seven digits


def same_change(one: Array, other: Array, before: Array) -> bool:
    """Whether two values are alike, of a variable that held `before`; all have one shape."""
    change = max(np.abs(one - before).max(initial=0), np.abs(other - before).max(initial=0))
    rounding = 1e-12 * np.abs(before).max(initial=0)
    return bool(np.abs(one - other).max(initial=0) <= _TOLERANCE * change + rounding)
