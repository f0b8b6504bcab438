"""What commands that judge report: entries, each of one step, that any format can tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Said:
    """One thing that is wrong, at a line of a file.

    `rule`: what machines call it; `identity`: what stays as long as it is the same thing; `code`:
    the lines of the step that it comes from, where they are in the repository.
    """

    rule: str
    text: str
    path: Path
    line: int
    identity: str
    code: tuple[tuple[Path, int], ...] = ()

    @property
    def places(self) -> list[tuple[Path, int]]:
        """Where it is shown: in the code, if that is known, and in the file that is not kept."""
        return [*self.code, (self.path, self.line)]


@dataclasses.dataclass(frozen=True)
class Entry:
    """What was said of one step. `status`: ``error`` if it could not be judged.

    `place`: of the step, for people; `good`: nothing is wrong; `message`: all that is, as text;
    `data`: the same for programs; `made`: file and line of what makes the step, where it is known.
    """

    label: str
    place: str
    path: Path
    line: int
    status: str
    good: bool
    message: str
    said: tuple[Said, ...]
    error: str | None
    seconds: tuple[float, float]
    data: Mapping[str, Any]
    made: tuple[Path, int] | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """Entries, with what is said of all of them together.

    `name`: of the whole; `about`: what one entry is; `key`: of the entries, for programs;
    `statuses`: those that are counted, in this order, `quiet` those that are told only if there
    are any; `doing`: what took the time besides making the steps; `unreadable`: what is wrong with
    files that could not be read; `rules`: what SARIF says of a rule.
    """

    name: str
    about: str
    key: str
    statuses: tuple[str, ...]
    quiet: frozenset[str]
    doing: str
    entries: tuple[Entry, ...]
    unreadable: tuple[str, ...]
    rules: Mapping[str, Mapping[str, Any]]
