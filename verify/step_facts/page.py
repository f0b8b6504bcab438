"""The facts of a step as a page a person can read."""

from __future__ import annotations

from textwrap import wrap

from verify.kinds import KINDS, Facts
from verify.step_facts.folding import folded

_TITLE = 17
_WIDTH = 100  # of what stands beside a title


def page(facts: Facts, full: bool = False) -> str:
    """The page. `full`: with every variable and entry; else many are told by how they begin."""
    lines = [
        f"{facts.name}: {facts.op_count} ops, {facts.constant_bytes} bytes of constants, "
        f"{facts.variable_bytes} of variables"
    ]
    for row in (row for kind in KINDS for row in kind.page(facts)):
        entries = row.entries or (("none",) if row.always else ())
        if not full:
            entries = _short(row.short or entries, row.joined)
        elif row.joined and entries:
            entries = (", ".join(entries),)
        for position, entry in enumerate(entries):
            lines.append(f"  {row.title if position == 0 else '':<{_TITLE}} {entry}")
    return "\n".join(lines)


def _short(entries: tuple[str, ...], joined: bool) -> tuple[str, ...]:
    several = folded(entries)
    if joined and several:
        several = [", ".join(several)]
    return tuple(line for entry in several for line in _lines(entry))


def _lines(entry: str) -> list[str]:
    if len(entry) <= _WIDTH:
        return [entry]  # as it is: names may have several spaces in a row
    return wrap(entry, _WIDTH, break_long_words=False, break_on_hyphens=False)
