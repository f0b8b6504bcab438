"""`replay`: both sides of a comparison again, on the draw that a violation names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from verify.find import Detector, Sides
from verify.graphs import no_collection
from verify.kinds import KEYWORDS
from verify.match import NoValueError
from verify.references import Untraced
from verify.step import capture

_SHOWN = 6  # elements of an array
_DIGITS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Replay:
    """What a step computes, and what it was expected to compute, of the same numbers.

    Attributes:
        draw: which draw of these numbers it is.
        sides: for each variable (``objective``), or each prediction that a loss may judge
            (``loss``): `of`, its path or name; `found` and `expected`, gradients as arrays of
            float64; `fed`, by name, what both were computed of.
    """

    draw: int
    sides: tuple[Sides, ...]

    def __str__(self) -> str:
        return "\n".join([f"draw {self.draw}", *(line for s in self.sides for line in _told(s))])

    def __getitem__(self, of: str) -> Sides:
        """The sides of one variable, or prediction."""
        return next(sides for sides in self.sides if sides.of == of)


def replay(
    target: Any,
    *args: Any,
    draw: int = 0,
    model: Any = None,
    signature: str | None = None,
    **expected: Any,
) -> Replay:
    """Evaluates what `assert_graph` compared, and both results on the draw that it names.

    Args:
        target, args, model, signature: as of `assert_graph`.
        draw: the number of the draw that a violation tells of.
        expected: one keyword of `assert_graph` with its value, ``objective`` or ``loss``.

    Raises:
        TypeError: another keyword, or several.
        ValueError: nothing can be computed in that draw; says why.
    """
    replayed = [name for name, keyword in KEYWORDS.items() if keyword.sides is not None]
    if len(expected) != 1 or not set(expected) <= set(replayed):
        told = ", ".join(expected) or "none"
        raise TypeError(f"replay takes one keyword of {', '.join(replayed)}; given: {told}")
    ((name, value),) = expected.items()
    with no_collection():
        step = capture(target, *args, model=model, signature=signature)
        sides_of = KEYWORDS[name].sides
        assert sides_of is not None  # it is one of those
        try:
            sides = sides_of(Detector(step), value, draw)
        except (NoValueError, Untraced) as why:
            raise ValueError(f"{name} can't be replayed in draw {draw}: {why}") from why
    if not sides:
        raise ValueError(f"{name}: the step has nothing to compare it with in draw {draw}")
    return Replay(draw, tuple(sides))


def _told(sides: Sides) -> Iterator[str]:
    yield f"{sides}"
    yield f"  found    {_array(sides.found)}"
    yield f"  expected {_array(sides.expected)}"


def _array(values: np.ndarray[Any, Any]) -> str:
    first = " ".join(f"{value:.{_DIGITS}g}" for value in values.reshape(-1)[:_SHOWN])
    more = f" ... ({values.size} elements)" if values.size > _SHOWN else ""
    return f"{first}{more}"
