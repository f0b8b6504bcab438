"""What may be said of several steps, of what is said of each: the same, a bound, a glob."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_LIMITS = {"max_ops", "max_bytes"}
# Of each of what these name something is said: it is true of fewer as well.
_OF_EACH = {"unchanged", "forbids"}
_CLIPPING = "clipping"
_OPTIMIZER = "optimizer"
_RATE = "learning_rate"


def candidates(keyword: str, values: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """What may be said of all, tightest first, and how that is wider than what is said of each."""
    first, *others = values
    if all(value == first for value in others):
        yield first, ""
    elif keyword in _LIMITS:
        yield max(values), f"the largest of {', '.join(map(str, values))}"
    elif keyword == _CLIPPING:
        yield from _ranges(values)
    elif keyword == _OPTIMIZER:
        yield from _at_rates(values)
    elif keyword == _RATE:
        yield [min(values), max(values)], "between the rates of all"
    elif keyword in _OF_EACH and all(isinstance(value, list) for value in values):
        common = [one for one in first if all(one in value for value in others)]
        if common:
            dropped = len({one for value in values for one in value}) - len(common)
            yield common, f"what all have, {dropped} besides are left out"
    elif all(globs(value) for value in values):
        every = [globs(value) for value in values]
        yield from _by_globs(every)


def globs(value: Any) -> list[tuple[list[str], str]]:
    """Globs that may say the same as a list of paths, tightest first, and how they are found."""
    if not isinstance(value, list) or not value or any(not isinstance(v, str) for v in value):
        return []
    tails = sorted({f"*/{path.rpartition('/')[2]}" for path in value})
    return [
        (["*"], "by a glob, since names differ"),
        (tails, "by the ends of names, since these differ"),
    ]


def implied(keyword: str, said: Any, value: Any) -> bool:
    """Whether what is said of a step says as well what another one says of it."""
    if said == value:
        return True
    if keyword in _LIMITS:
        return bool(said <= value)
    if keyword in _OF_EACH:
        return isinstance(said, list) and isinstance(value, list) and {*value} <= {*said}
    if keyword == _RATE:
        (least, most), (low, high) = _both(said), _both(value)
        return bool(low <= least <= most <= high)
    if keyword == _OPTIMIZER:
        rate, rates = (
            one.get(_RATE) if isinstance(one, Mapping) else None for one in (said, value)
        )
        same = rate is not None and rates is not None and {**said, _RATE: 0} == {**value, _RATE: 0}
        return same and implied(_RATE, rate, rates)
    if keyword == _CLIPPING:
        ours, theirs = _ends(said), _ends(value)
        return (
            ours is not None
            and theirs is not None
            and ours.keys() == theirs.keys()
            and all(
                theirs[k][0] <= least <= most <= theirs[k][1] for k, (least, most) in ours.items()
            )
        )
    return False


def instead(keyword: str, value: Any) -> Mapping[str, Any]:
    """What a promise says as well, which may be said where the promise itself can't be."""
    if keyword != _OPTIMIZER or not isinstance(value, Mapping):
        return {}
    rate = value.get(_RATE)
    return {_RATE: rate} if isinstance(rate, int | float) else {}


def _at_rates(values: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """One optimizer with the same settings, at rates between the least and the greatest."""
    tables = [value if isinstance(value, Mapping) else {} for value in values]
    rates = [table.get(_RATE) for table in tables]
    numbers = [rate for rate in rates if isinstance(rate, int | float)]
    others = [{k: v for k, v in table.items() if k != _RATE} for table in tables]
    if len(numbers) == len(rates) and all(one == others[0] for one in others):
        yield {**others[0], _RATE: [min(numbers), max(numbers)]}, "at a rate between those of all"


def _by_globs(every: Sequence[list[tuple[list[str], str]]]) -> Iterator[tuple[Any, str]]:
    for said, how in every[0]:
        if all(any(said == other for other, _ in others) for others in every[1:]):
            yield said, how


def _ranges(values: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """Clips of one kind whose bounds are between the least and the greatest of these."""
    every = [_ends(value) for value in values]
    found = [ends for ends in every if ends is not None]
    if len(found) < len(every) or any(ends.keys() != found[0].keys() for ends in found):
        return
    ranges = {
        end: [min(ends[end][0] for ends in found), max(ends[end][1] for ends in found)]
        for end in found[0]
    }
    said = {end: least if least == most else [least, most] for end, (least, most) in ranges.items()}
    yield [*said.values()] if "low" in said else said, "between the bounds of all"


def _ends(value: Any) -> Mapping[str, tuple[float, float]] | None:
    """The ends of each bound of a clip, as contracts spell it; None of none."""
    if isinstance(value, list):
        low, high = value
        return {"low": _both(low), "high": _both(high)}
    if isinstance(value, Mapping):
        return {kind: _both(bound) for kind, bound in value.items()}
    return None


def _both(bound: Any) -> tuple[float, float]:
    return (bound[0], bound[1]) if isinstance(bound, list) else (bound, bound)
