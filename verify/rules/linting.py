"""A step held against the rules: what is found, and how it reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from loopctl_shared import html_page, html_table
from verify.find import Detector
from verify.graphs import SourceLine, no_collection
from verify.kinds import lines_of_names
from verify.rules.registry import RULES, chosen
from verify.rules.rule import Rule
from verify.rules.seen import Seen
from verify.step import capture

_SHOWN = 6  # variables that are named


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing in a step that is wrong in every training step.

    `id` and `title` name the rule; `message` says what is wrong; `where` has the paths of the
    variables, layers or ops concerned; `page` is the section of the documentation that explains why
    it is wrong and what to write instead; `lines` are the lines of the user's code that made it, if
    they are known.
    """

    id: str
    title: str
    message: str
    where: tuple[str, ...]
    page: str
    lines: tuple[SourceLine, ...] = dataclasses.field(default=(), compare=False)

    @property
    def place(self) -> str:
        """`where` as text, long lists abridged."""
        shown = ", ".join(self.where[:_SHOWN])
        return shown + f" and {len(self.where) - _SHOWN} more" * (len(self.where) > _SHOWN)

    def __str__(self) -> str:
        place = f"\n  at {self.place}" if self.place and self.place not in self.message else ""
        rule = RULES[self.id]
        lines = "".join(f"\n  see {line}" for line in self.lines)
        told = f"{self.id} {self.title}: {self.message}{place}{lines}"
        return f"{told}\n  write instead: {rule.instead}"


class Findings(tuple[Finding, ...]):
    """What `lint` has found, in the order of the rules; prints as a report."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing found"

    def _repr_html_(self) -> str:
        if not self:
            return html_page(str(self))
        rows = [
            (
                one.id,
                one.title,
                one.message,
                "\n".join([one.place, *map(str, one.lines)]),
                RULES[one.id].instead,
            )
            for one in self
        ]
        return html_table(("", "rule", "what is wrong", "at", "write instead"), rows)


def lint(
    target: Any,
    *args: Any,
    model: Any = None,
    signature: str | None = None,
    ignore: Iterable[str] = (),
) -> tuple[Finding, ...]:
    """Returns what is wrong with a training step, whatever its purpose; ``print`` it for a report.

    The rules hold for every sound step, so no contract is needed; docs/lint.md explains them.

    Args:
        target, args, model, signature: as for `verify.assert_graph`.
        ignore: ids of rules to leave out.

    Raises:
        ValueError: `ignore` contains something that is not the id of a rule.
    """
    rules = chosen((), ignore)
    with no_collection():
        detector = Detector(capture(target, *args, model=model, signature=signature))
        return findings(detector, rules)


def findings(detector: Detector, rules: Iterable[Rule]) -> Findings:
    """What a step breaks of some rules."""
    seen = Seen(detector)
    return Findings(
        Finding(
            rule.id,
            rule.title,
            told.message,
            told.where,
            rule.page,
            lines_of_names(detector, told.where),
        )
        for rule in rules
        for told in rule.check(seen)
    )
