"""Values that are kept in files: few numbers that tell any two of them apart, up to rounding.

Of a small value, all elements; of a large one, sums of its elements by random factors, for each of
its parts. These are linear: what is twice as large has sums that are twice as large.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_WHOLE = 24  # elements of a value that is kept as it is
_PARTS = 8
_SUMS = 2  # of each part
_DIGITS = 10
ROUNDING = 1e-5  # of a change: constants have seven digits
DOUBTFUL = 1e-3  # of a change: rounding that was magnified, or a small number that differs

_PROBE = 64


@dataclasses.dataclass(frozen=True)
class Sketch:
    """A change of a value: `before` it, the largest of what there was; `norm`; `sums`."""

    before: float
    norm: float
    sums: tuple[float, ...]

    def apart(self, other: Sketch) -> float:
        """How far two changes are from one another, as a share of the larger; 0 up to rounding."""
        if len(self.sums) != len(other.sums):
            return np.inf
        most = np.abs(np.subtract(self.sums, other.sums)).max(initial=abs(self.norm - other.norm))
        scale = max(self.norm, other.norm)
        rounding = 1e-12 * max(self.before, other.before) * max(1, len(self.sums)) ** 0.5
        return 0.0 if most <= rounding else float(most / scale)


def sketch(value: Array, before: Array) -> Sketch | None:
    """What is kept of a change; None of one that is not finite."""
    change = (value - before).reshape(-1)
    if not np.isfinite(change).all():
        return None
    sums = change
    if change.size > _WHOLE:
        factors = np.random.default_rng(change.size).normal(size=(_SUMS, change.size))
        parts = np.array_split(factors * change, _PARTS, axis=1)
        sums = np.concatenate([part.sum(axis=1) for part in parts])
    largest = float(np.abs(before).max(initial=0.0))
    norm = float(np.linalg.norm(change))
    return Sketch(_short(largest), _short(norm), tuple(_short(float(one)) for one in sums))


def factor(then: Sequence[Sketch], now: Sequence[Sketch]) -> float | None:
    """By what the first changes are multiplied in the second ones, if by one number."""
    a = np.concatenate([one.sums for one in then])
    b = np.concatenate([one.sums for one in now])
    if a.shape != b.shape or not (a @ a):
        return None
    found = float(a @ b / (a @ a))
    fits = all(
        len(one.sums) == len(other.sums)
        and np.abs(found * np.array(one.sums) - other.sums).max(initial=0.0)
        <= DOUBTFUL * max(abs(found) * one.norm, other.norm)
        for one, other in zip(then, now, strict=True)
    )
    return found if fits else None


def drawn_here() -> str:
    """What tells whether the same numbers are drawn here: NumPy may draw others one day."""
    rng = np.random.default_rng([1, 2])
    numbers = [
        rng.normal(size=_PROBE),
        rng.uniform(size=_PROBE),
        rng.integers(7, size=_PROBE),
        rng.choice([-1.0, 1.0], size=_PROBE),
    ]
    return f"{zlib.crc32(np.concatenate(numbers).tobytes()):08x}"


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
