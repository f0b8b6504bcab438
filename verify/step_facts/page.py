"""The facts of a step as a page a person can read."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from loopctl_shared import html_table
from verify.kinds import KINDS, Facts
from verify.step_facts.folding import folded

_TITLE = 17
_WIDTH = 100  # of what stands beside a title


def page(facts: Facts, full: bool = False) -> str:
    """The page. `full`: with every variable and entry; else many are told by how they begin."""
    lines = [headline_of(facts)]
    for title, entries in _rows(facts, full):
        for position, entry in enumerate(entries):
            lines.append(f"  {title if position == 0 else '':<{_TITLE}} {entry}")
    return "\n".join(lines)


def html(facts: Facts) -> str:
    """The page as a notebook shows it."""
    rows = [(title, "\n".join(entries)) for title, entries in _rows(facts)]
    return html_table(("", facts.name), rows, caption=headline_of(facts))


def headline_of(facts: Facts) -> str:
    """How large a step is."""
    return (
        f"{facts.name}: {facts.op_count} ops, {facts.constant_bytes} bytes of constants, "
        f"{facts.variable_bytes} of variables"
    )


def _rows(facts: Facts, full: bool = False) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Titles of rows with their lines; rows without any are left out."""
    for row in (row for kind in KINDS for row in kind.page(facts)):
        entries = row.entries or (("none",) if row.always else ())
        if not full:
            entries = _short(row.short or entries, row.joined)
        elif row.joined and entries:
            entries = (", ".join(entries),)
        if entries:
            yield row.title, entries


def entries_of(facts: Facts) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Titles of rows with what stands under each, an entry at a time, in full length."""
    for row in (row for kind in KINDS for row in kind.page(facts)):
        entries = row.entries or (("none",) if row.always else ())
        if row.short and max(map(len, row.short)) <= 2 * _WIDTH:
            entries = row.short
        if entries:
            yield row.title, tuple(folded(entries))


def _short(entries: tuple[str, ...], joined: bool) -> tuple[str, ...]:
    several = folded(entries)
    if joined and several:
        several = [", ".join(several)]
    return tuple(line for entry in several for line in _lines(entry))


def _lines(entry: str) -> list[str]:
    if len(entry) <= _WIDTH:
        return [entry]  # as it is: names may have several spaces in a row
    return wrap(entry, _WIDTH, break_long_words=False, break_on_hyphens=False)
