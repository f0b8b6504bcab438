"""One broken expectation, as it is told to a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from loopctl_shared import html_table
from verify.find import Detector
from verify.graphs import SourceLine
from verify.match import Miss

_TELLING = 4  # a nearest miss that agrees in fewer ops tells nothing


# How what was found begins where nothing could be decided, and where no rule of an update fits:
# `assert_config` tells these from what is another thing.
UNTOLD = "can't be told"
NO_RULE = "by an unknown rule"


@dataclasses.dataclass(frozen=True)
class Violation:
    """One broken expectation: which keyword, what was expected, what is there, and hints.

    `lines`: of the user's code, which made what is there.
    """

    keyword: str
    expected: str
    found: str
    hints: tuple[str, ...] = ()
    lines: tuple[SourceLine, ...] = dataclasses.field(default=(), compare=False)

    @property
    def in_one_line(self) -> str:
        text = f"{self.keyword}: expected {self.expected}, found {self.found}"
        return " ".join(text.split())

    def __str__(self) -> str:
        lines = [f"{self.keyword}: expected {self.expected}", f"  found    {self.found}"]
        return "\n".join([*lines, *(f"  {one}" for one in self.more)])

    @property
    def more(self) -> list[str]:
        """What is told beside what was expected and found: hints, and the user's own lines."""
        return [*self.hints, *(f"see {line}" for line in self.lines)]

    def _repr_html_(self) -> str:
        return violations_as_html((self,))


def violations_as_html(violations: Iterable[Violation], caption: str = "") -> str:
    """A table of them, as a notebook shows it."""
    rows = [(one.keyword, one.expected, "\n".join([one.found, *one.more])) for one in violations]
    return html_table(("", "expected", "found"), rows, caption)


def weight(
    keyword: str, name: str, factor: float | None, expected: float = 1, scale: float = 1
) -> list[Violation]:
    """A violation if a constant factor other than `expected` multiplies a recognised gradient.

    `scale`: what may multiply it besides.
    """
    if factor is None or np.isclose([factor, scale * factor], expected, rtol=1e-5).any():
        return []
    return [Violation(keyword, f"{name} with weight {expected:g}", f"weight {factor:.6g}")]


def nearest(miss: Miss | None) -> tuple[str, ...]:
    if miss is None or miss.agreed < _TELLING:
        return ()
    return (
        f"nearest: {miss.agreed} ops of its gradient agree; first difference at {miss.at}: "
        f"{miss.difference}",
    )


def doubts(detector: Detector) -> tuple[str, ...]:
    """What a verdict on gradients that nothing explains has to add, if the model was not traced."""
    reference = detector.step.reference
    return () if reference is None else reference.doubts
