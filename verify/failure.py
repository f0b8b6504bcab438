"""Broken expectations and the error that lists them."""

from __future__ import annotations

import contextlib
import dataclasses
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from verify.match import Miss

_HERE = Path(__file__).parent
_TELLING = 4  # a nearest miss that agrees in fewer ops tells nothing


class GraphAssertionError(AssertionError):
    """A step is not what it was asserted to be; the message lists every violation."""

    def __init__(self, message: str, violations: Sequence[Violation]) -> None:
        super().__init__(message)
        self.violations = tuple(violations)

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call it again with the message alone.
        return type(self), (str(self), self.violations)


@dataclasses.dataclass(frozen=True)
class Violation:
    """One broken expectation: which keyword, what was expected, what is there, and hints."""

    keyword: str
    expected: str
    found: str
    hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.keyword}: expected {self.expected}", f"  found    {self.found}"]
        return "\n".join([*lines, *(f"  {hint}" for hint in self.hints)])


def weight(keyword: str, name: str, factor: float | None, expected: float = 1) -> list[Violation]:
    """A violation if a constant factor other than `expected` multiplies a recognised gradient."""
    if factor is None or np.isclose(factor, expected, rtol=1e-5):
        return []
    return [Violation(keyword, f"{name} with weight {expected:g}", f"weight {factor:.6g}")]


def nearest(miss: Miss | None) -> tuple[str, ...]:
    if miss is None or miss.agreed < _TELLING:
        return ()
    return (
        f"nearest: {miss.agreed} ops of its gradient agree; first difference at {miss.at}: "
        f"{miss.difference}",
    )


def fail(name: str, violations: Sequence[Violation]) -> None:
    """Raises if there are violations."""
    __tracebackhide__ = True  # pytest shows the test's own line
    if not violations:
        return
    count = f"{len(violations)} violation{'s' if len(violations) > 1 else ''}"
    lines = [f"{name}: {count}"]
    for number, violation in enumerate(violations, 1):
        lines.append(f"{number}. " + str(violation).replace("\n", "\n   "))
    if (line := user_line()) is not None:
        lines.append(line)
    raise GraphAssertionError("\n".join(lines), violations)


def user_line() -> str | None:
    """The line of the caller outside this package."""
    for frame in reversed(traceback.extract_stack()):
        if Path(frame.filename).parent != _HERE and frame.filename != contextlib.__file__:
            return f"asserted at {frame.filename}:{frame.lineno}: {frame.line}"
    return None
