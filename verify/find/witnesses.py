"""Both sides of a comparison on one draw, and where they differ most."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Sides:
    """What a step computes, and what it was expected to compute, of the same numbers.

    Attributes:
        of: the path of the variable that gradients are taken by, or the prediction.
        found: what the step computes, an array of any shape, float64.
        expected: what it should compute, in the same shape unless that is what differs.
        fed: what both were computed of, by name.
    """

    of: str
    found: Array
    expected: Array
    fed: Mapping[str, Array] = dataclasses.field(default_factory=dict)

    @property
    def apart(self) -> float:
        """The largest difference, as a share of the largest element; infinite of other shapes."""
        if self.found.shape != self.expected.shape:
            return float("inf")
        size = max(largest(self.found), largest(self.expected))
        return largest(self.found - self.expected) / size if size else 0.0

    def __str__(self) -> str:
        if self.found.shape != self.expected.shape:
            return f"by {self.of}: shape {self.found.shape}, expected {self.expected.shape}"
        if not self.found.size:
            return f"by {self.of}: empty"
        where = np.unravel_index(np.argmax(np.abs(self.found - self.expected)), self.found.shape)
        place = f"[{', '.join(map(str, where))}]" if where else ""
        return f"by {self.of}{place}: {self.found[where]:.5g}, expected {self.expected[where]:.5g}"


@dataclasses.dataclass(frozen=True, eq=False)
class Witness:
    """Numbers that show a difference. `draw`: which draw they are of."""

    draw: int
    sides: Sides

    def __str__(self) -> str:
        return f"for example, {self.sides} (draw {self.draw}; verify.replay shows both sides)"


def largest(values: Array) -> float:
    """The size of the largest element, 0 of none."""
    return float(np.abs(values).max(initial=0.0))
