"""The error that lists what is not as it was asserted, and where that was asserted."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopctl_shared import html_page
from verify.kinds import Violation, violations_as_html

_PACKAGE = Path(__file__).parents[1]


class GraphAssertionError(AssertionError):
    """A step is not what it was asserted to be. The message lists all violations.

    `violations` has them as objects; `in_one_line` is the first one, for summaries.
    """

    __module__ = "verify"  # where people import it from, and so what a traceback calls it

    def __init__(
        self, message: str, violations: Sequence[Violation], in_one_line: str | None = None
    ) -> None:
        super().__init__(message)
        self.violations = tuple(violations)
        if in_one_line is None:
            in_one_line = violations[0].in_one_line if violations else message.partition("\n")[0]
        self.in_one_line = in_one_line

    def _repr_html_(self) -> str:
        if not self.violations:
            return html_page(str(self))
        return violations_as_html(self.violations, str(self).partition("\n")[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call it again with the message alone.
        return type(self), (str(self), self.violations, self.in_one_line)


def fail(name: str, violations: Sequence[Violation]) -> None:
    """Raises if there are violations."""
    __tracebackhide__ = True  # pytest shows the test's own line
    if not violations:
        return
    message = listing(name, violations)
    if (line := user_line()) is not None:
        message += f"\n{line}"
    raise GraphAssertionError(message, violations)


def listing(name: str, violations: Sequence[Violation]) -> str:
    """All violations of a step, numbered, as text."""
    count = f"{len(violations)} violation{'s' if len(violations) > 1 else ''}"
    lines = [f"{name}: {count}"]
    for number, violation in enumerate(violations, 1):
        lines.append(f"{number}. " + str(violation).replace("\n", "\n   "))
    return "\n".join(lines)


def user_line() -> str | None:
    """The line of the caller outside this package."""
    for frame in reversed(traceback.extract_stack()):
        inside = Path(frame.filename).is_relative_to(_PACKAGE)
        if not inside and frame.filename != contextlib.__file__:
            return f"asserted at {frame.filename}:{frame.lineno}: {frame.line}"
    return None
