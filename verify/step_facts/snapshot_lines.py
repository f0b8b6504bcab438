"""The facts of a step as lines that stay the same as long as the step does: for snapshots."""

from __future__ import annotations

import difflib

from verify.kinds import KINDS, Facts


def lines_of(facts: Facts) -> str:
    """One fact per line, sorted within its kind.

    Left out is what another version of TensorFlow may change though the step is the same: counts
    of ops and bytes, and names of ops.
    """
    lines = [
        f"{row.title}: {entry}"
        for kind in KINDS
        for row in kind.snapshot(facts)
        for entry in sorted(row.entries or (("none",) if row.always else ()))
    ]
    return "\n".join(lines) + "\n"


def changes(before: str, after: str) -> list[str]:
    """The lines that are in only one of two steps, as ``- line`` and ``+ line``."""
    compared = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in compared if line.startswith(("- ", "+ "))]
