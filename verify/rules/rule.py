"""A rule: what is true of every sound step, why, what to write instead; how it is looked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from verify.rules.seen import Seen

PAGE = "lint.md"
"""The page of the docs that has a section for each rule."""


@dataclasses.dataclass(frozen=True)
class Told:
    """What is wrong in one place. `where`: variables, layers, or ops."""

    message: str
    where: tuple[str, ...] = ()


Check = Callable[[Seen], Iterable[Told]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule.

    `title`: what a step that breaks it does. `wrong`: what that is, exactly, so that it is seen
    what is none; `why`: why it hurts; `instead`: what to write.
    """

    id: str
    title: str
    wrong: str
    why: str
    instead: str
    check: Check

    @property
    def page(self) -> str:
        return f"{PAGE}#{self.id.lower()}"

    @property
    def section(self) -> str:
        """Its section of the page, without the heading."""
        return (
            f"**{self.title}.** {self.wrong}\n\nWhy: {self.why}\n\nWrite instead: {self.instead}\n"
        )


Rules = list[Rule]


def ruled(
    rules: Rules, id: str, title: str, *, wrong: str, why: str, instead: str
) -> Callable[[Check], Check]:
    """Adds a rule to a group; the function says where a step breaks it."""

    def add(check: Check) -> Check:
        said, because, write = (" ".join(text.split()) for text in (wrong, why, instead))
        rules.append(Rule(id, title, said, because, write, check))
        return check

    return add


def each(paths: Iterable[str], message: str) -> Iterator[Told]:
    """One thing that is wrong with several variables."""
    listed = tuple(sorted(set(paths)))
    if listed:
        yield Told(message, listed)
