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
    """What a step computes and what was expected, for the same random inputs.

    Attributes:
        draw: the number of the random draw.
        sides: one entry for each variable (``objective``), or for each prediction that a loss may
            judge (``loss``). Each has `of`, its path or name; `found` and `expected`, the gradients
            as float64 arrays; and `fed`, the inputs of both, by name.
    """

    draw: int
    sides: tuple[Sides, ...]

    def __str__(self) -> str:
        return "\n".join([f"draw {self.draw}", *(line for s in self.sides for line in _told(s))])

    def __getitem__(self, of: str) -> Sides:
        """The two sides for one variable or prediction."""
        return next(sides for sides in self.sides if sides.of == of)


def replay(
    target: Any,
    *args: Any,
    draw: int = 0,
    model: Any = None,
    signature: str | None = None,
    **expected: Any,
) -> Replay:
    """Returns both sides of what `assert_graph` compared, evaluated on the draw that it named.

    Args:
        target, args, model, signature: as for `verify.assert_graph`.
        draw: the number of the draw, as named in the violation.
        expected: one keyword of `assert_graph` and its value: ``objective`` or ``loss``.

    Raises:
        TypeError: another keyword is given, or several.
        ValueError: nothing can be computed for that draw; the message says why.
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
