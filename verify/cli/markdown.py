"""A report for a pull request: in words, with links to the lines that it is about."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from verify.cli.places import in_repository
from verify.cli.reports import Entry, Report, Said

MARK = "<!-- loopctl-verify -->"
"""First line, by which a comment is found again and replaced."""

_MOST = 60_000  # GitHub takes comments of 65,536 characters


def markdown(report: Report) -> str:
    """The report as GitHub's Markdown.

    Names of variables, steps and files come from anywhere: they stand in code, where nothing of
    them is markup, a mention or HTML.
    """
    bad = [entry for entry in report.entries if not entry.good]
    blocks = [MARK, f"### {_headline(report, bad)}"]
    for entry in bad:
        blocks += _entry(report, entry)
    if report.unreadable:
        blocks.append("These files can't be read:")
        blocks += [_fenced(told) for told in report.unreadable]
    good = [_code(entry.label) for entry in report.entries if entry.good]
    if good and bad:
        blocks.append(
            f"As {'they should' if len(good) > 1 else 'it should'} be: {', '.join(good)}."
        )
    return _cut(blocks)


def _headline(report: Report, bad: list[Entry]) -> str:
    count = len(report.entries)
    if not bad and not report.unreadable:
        steps = "The training step is" if count == 1 else f"All {count} training steps are"
        return f"{steps} as {'it' if count == 1 else 'they'} should be"
    if not bad:
        return "Not everything could be read"
    broken = sum(entry.error is None for entry in bad)
    if not broken:
        return f"{len(bad)} of {count} training steps could not be looked at"
    return f"{broken} of {count} training steps {'is' if broken == 1 else 'are'} not as meant"


def _entry(report: Report, entry: Entry) -> Iterator[str]:
    made = "" if entry.made is None else f", which is made at {_place(*entry.made)}"
    if entry.error is not None:
        yield f"**{_code(entry.label)}**{made}, could not be looked at:"
        yield _fenced(entry.error)
        return
    yield f"**{_code(entry.label)}**{made}:"
    for said in entry.said:
        yield _said(report, said)
        yield _fenced(said.text)


def _said(report: Report, said: Said) -> str:
    title = report.rules[said.rule].get("name")
    code = "".join(f"\n  - in {_quoted(*place)}" for place in said.code)
    if title is not None:
        return f"- {_code(said.rule)}: {title}{code}"
    line = _line(said.path, said.line)
    shown = f": {_code(line)}" if line else ""
    place = _place(said.path, said.line)
    return f"- {_code(said.rule)} is not what {place} promises{shown}{code}"


def _quoted(path: Path, number: int) -> str:
    """A line of code, and where it is."""
    return f"{_place(path, number)}: {_code(_line(path, number))}"


def _line(path: Path, number: int) -> str:
    """The text of a line, if the file has it."""
    if not path.is_file():
        return ""
    lines = path.read_text("utf-8", errors="replace").splitlines()
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def _place(path: Path, line: int) -> str:
    told = in_repository(path)
    shown = _code(f"{told.as_posix()}:{line}")
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_SHA")
    server, repository, commit = (os.environ.get(name, "") for name in names)
    if told.is_absolute() or not (server and repository and commit):
        return shown
    file = urllib.parse.quote(told.as_posix())
    return f"[{shown}]({server}/{repository}/blob/{commit}/{file}#L{line})"


def _code(text: str) -> str:
    """A code span, whatever backticks are in it; one line."""
    text = " ".join(text.split())
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _fenced(text: str) -> str:
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks}text\n{text}\n{ticks}"


def _cut(blocks: list[str]) -> str:
    """As many blocks as a comment holds, and how many more there are."""
    length = 0
    for number, block in enumerate(blocks):
        length += len(block) + 2
        if length > _MOST:
            told = f"{len(blocks) - number} more parts are left out: run `loopctl-verify` yourself."
            return "\n\n".join([*blocks[:number], told]) + "\n"
    return "\n\n".join(blocks) + "\n"
