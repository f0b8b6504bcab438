"""Sums of the gradients of several calls, each times a number: what a tensor is such a sum of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from verify.find.observed import Array
from verify.graphs import Tensor
from verify.match import ROUNDED

_EXACT = 1e-6  # of the largest element
_FACTOR = 1e-4  # of a factor: constants have seven digits
_FREE = 3  # numbers more than are solved for


@dataclasses.dataclass(frozen=True)
class GradientSum:
    """A tensor that is a sum of gradients, each times a number.

    `weights`: those numbers, of the call of the update before and of the calls since, the last of
    which updates.
    """

    tensor: Tensor
    weights: tuple[float, ...]

    @property
    def calls(self) -> tuple[bool, ...]:
        """Of which calls a gradient is in it."""
        return tuple(map(bool, self.weights))

    @property
    def since(self) -> float | None:
        """The one number of all calls since the update before; None where there is none."""
        return _only(self.weights[1:]) if not self.weights[0] else None

    @property
    def until(self) -> float | None:
        """The same where an update leaves the gradients of its own call to the next one."""
        return _only(self.weights[:-1]) if not self.weights[-1] else None

    @property
    def factor(self) -> float | None:
        """Either of them."""
        return self.until if self.since is None else self.since

    def __str__(self) -> str:
        *first, last = self.weights
        before, *inner = first
        if last and not any(first):
            return f"the gradient of the last call alone{_times(last)}"
        since = "the gradients since the update before"
        if inner and not before and not last and (one := _only(inner)):
            return f"{since}{_times(one)}, without that of the last call"
        if (one := _only(self.weights)) is not None:
            return f"{since}{_times(one)}, and that of its call once more"
        if (one := self.until) is not None:
            told = "the gradients of the call of the update before and since"
            return f"{told}{_times(one)}, without that of the last call"
        told = ", ".join(f"{weight:.4g}" for weight in self.weights)
        return f"the gradients times {told}, from the call of the update before to the last"


def _times(factor: float) -> str:
    return "" if is_one(factor) else f" (each times {factor:.6g})"


def gradient_sum(tensor: Tensor, value: Array, calls: Sequence[Array]) -> GradientSum | None:
    """A tensor as a sum of the gradients of several calls, None if it is none.

    Args:
        value: (n,), what it is.
        calls: per call (n,), the gradients. Where there are few numbers only the usual sums are
            tried: of all, of the last one, of all but one, ...
    """
    if not value.any() or not np.isfinite(value).all():
        return None
    if len(value) >= len(calls) + _FREE:
        columns = np.stack(calls, axis=1)
        found: Array = np.linalg.lstsq(columns, value, rcond=None)[0]
        if not _is_close(columns @ found, value):
            return None
        largest = float(np.abs(found).max())
        weights = tuple(0.0 if abs(w) < _FACTOR * largest else float(w) for w in found)
        return GradientSum(tensor, weights)
    for chosen in filter(None, _usual(len(calls))):
        added = sum(calls[i] for i in chosen)
        factor = multiple(value, np.asarray(added))
        if factor is not None:
            return GradientSum(tensor, tuple(factor * (i in chosen) for i in range(len(calls))))
    return None


def _usual(count: int) -> Iterator[range]:
    """Places of the calls whose gradients are added up; the first is that of the update before."""
    last = count - 1
    yield from (range(1, count), range(last, count), range(last), range(1, last), range(count))
    yield range(2, count)


def multiple(value: Array, of: Array) -> float | None:
    """What number times another array an array is; None for no number, and for zero."""
    size = float(of @ of)
    factor = float(value @ of) / size if size else 0.0
    return factor if factor and _is_close(factor * of, value) else None


def distinct(sums: Iterable[GradientSum]) -> list[GradientSum]:
    """The sums of other numbers, in their order; the last of those that are alike."""
    found: dict[tuple[float, ...], GradientSum] = {}
    for one in sums:
        known = (w for w in found if np.allclose(w, one.weights, rtol=_FACTOR, atol=0))
        key = next(known, one.weights)
        found.pop(key, None)
        found[key] = one
    return [*found.values()]


def is_one(number: float, dtype: str = "float32") -> bool:
    """Whether a number is one, as exactly as constants of a type are."""
    return bool(np.isclose(number, 1.0, rtol=max(_FACTOR, ROUNDED.get(dtype, 0.0))))


def _only(numbers: Sequence[float]) -> float | None:
    """The one number that all are, other than zero."""
    first = numbers[0] if numbers else 0.0
    return first if first and np.allclose(numbers, first, rtol=_FACTOR, atol=0) else None


def _is_close(one: Array, other: Array) -> bool:
    return bool(np.abs(one - other).max(initial=0) <= _EXACT * np.abs(other).max(initial=0))
