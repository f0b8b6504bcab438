"""The facts of a step as a page a person can read."""

from __future__ import annotations

from verify.kinds import KINDS, Facts

_WIDTH = 17


def page(facts: Facts) -> str:
    lines = [
        f"{facts.name}: {facts.op_count} ops, {facts.constant_bytes} bytes of constants, "
        f"{facts.variable_bytes} of variables"
    ]
    for row in (row for kind in KINDS for row in kind.page(facts)):
        entries = row.entries or (("none",) if row.always else ())
        for position, entry in enumerate(entries):
            lines.append(f"  {row.title if position == 0 else '':<{_WIDTH}} {entry}")
    return "\n".join(lines)
