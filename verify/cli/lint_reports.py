"""What was found in steps as a report."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loopctl_shared import DISTRIBUTION
from verify.cli.places import of_the_repository
from verify.cli.reports import Entry, Report, Said
from verify.contracts import Ignore, unused
from verify.printable import printable_text
from verify.rules import PAGE, RULES, Finding

_UNUSED = "unused-ignore"


@dataclasses.dataclass(frozen=True)
class Linted:
    """One step: `every` finding, those that comments of its contract silence included.

    `asked`: ids of the rules that were; `error`: why it could not be linted.
    """

    label: str
    path: Path
    line: int = 1
    ignores: tuple[Ignore, ...] = ()
    every: tuple[Finding, ...] = ()
    asked: tuple[str, ...] = ()
    error: str | None = None
    seconds: tuple[float, float] = (0.0, 0.0)

    def but(self, **fields: Any) -> Linted:
        return dataclasses.replace(self, **fields)

    @property
    def findings(self) -> list[Finding]:
        silenced = {id for ignore in self.ignores for id in ignore.ids}
        return [one for one in self.every if one.id not in silenced]

    @property
    def unused(self) -> list[tuple[Ignore, str]]:
        """Comments that silence nothing, of rules that were asked."""
        return [
            (ignore, told)
            for ignore in self.ignores
            if self.error is None
            for told in unused(ignore, self.asked, {one.id for one in self.every})
        ]


def report_of(linted: Sequence[Linted]) -> Report:
    """The report of ``lint``."""
    entries = tuple(map(_entry, linted))
    rules = {said.rule for entry in entries for said in entry.said}
    return Report(
        name="lint",
        about="lint",
        key="steps",
        statuses=("sound", "found"),
        quiet=frozenset(),
        doing="lint",
        entries=entries,
        unreadable=(),
        rules={rule: _told_of(rule) for rule in rules},
    )


def _entry(one: Linted) -> Entry:
    said = (*_said(one),)
    status = "error" if one.error is not None else "found" if said else "sound"
    return Entry(
        label=one.label,
        place=printable_text(f"{one.path}:{one.line}").replace("\n", r"\n"),
        path=one.path,
        line=one.line,
        status=status,
        good=status == "sound",
        message=one.error or "\n".join(each.text for each in said),
        said=said,
        error=one.error,
        seconds=one.seconds,
        data={
            "name": one.label,
            "file": str(one.path),
            "line": one.line,
            "status": status,
            "findings": [dataclasses.asdict(finding) for finding in one.findings],
            "ignored": [
                {"ids": list(ignore.ids), "reason": ignore.reason, "line": ignore.line}
                for ignore in one.ignores
            ],
            "unused": [told for _, told in one.unused],
        },
        made=(one.path, one.line) if one.path.suffix == ".py" else None,
    )


def _said(one: Linted) -> Iterator[Said]:
    for finding in one.findings:
        identity = f"{one.label} {finding.id} {' '.join(finding.where)}"
        code = of_the_repository(finding.lines)
        yield Said(finding.id, str(finding), one.path, one.line, identity, code)
    for ignore, told in one.unused:
        yield Said(_UNUSED, told, one.path, ignore.line, f"{one.label} {told}")


def _told_of(rule: str) -> dict[str, Any]:
    """What SARIF says of a rule."""
    if rule == _UNUSED:
        return {"shortDescription": {"text": "a comment silences a rule that finds nothing"}}
    known = RULES[rule]
    told = {
        "name": known.title,
        "shortDescription": {"text": known.title},
        "fullDescription": {"text": known.wrong},
        "help": {"text": f"{known.why} Write instead: {known.instead}", "markdown": known.section},
    }
    home = documentation()
    page = f"{home}/{PAGE.removesuffix('.md')}/#{known.id.lower()}" if home else ""
    return told | ({"helpUri": page} if page else {})


def documentation() -> str:
    """Where the docs are, as the installed distribution says; empty if it does not."""
    try:
        urls = importlib.metadata.metadata(DISTRIBUTION).get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    named = dict(url.partition(", ")[::2] for url in urls)
    return str(named.get("Documentation", "")).rstrip("/")
