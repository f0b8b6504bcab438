"""The facts of a step as lines that stay the same as long as the step does: for snapshots."""

from __future__ import annotations

import difflib

from verify.kinds import KINDS, Facts

# The first line of a snapshot. Those of loopctl 0.1 have none.
_FORMAT = "# What a training step does, a fact a line, kept by pytest --graph-update. Format 2.\n"
# Of the facts that 0.1 told, those that are told in the same words since.
_TOLD_BY_FIRST = {
    "loss",
    "regularization",
    "clipping",
    "watched",
    "written by hand",
    "weight decay",
    "stopped",
    "optimizer state",
    "accumulator",
    "read only",
    "custom gradient",
    "guard",
    "hazard",
}


def snapshot_of(facts: Facts) -> str:
    """What a snapshot keeps of a step: `lines_of`, below a line that says so."""
    return _FORMAT + lines_of(facts)


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
    compared = difflib.ndiff(_facts_of(before), _facts_of(after))
    return [line for line in compared if line.startswith(("- ", "+ "))]


def is_of_first_edition(kept: str) -> bool:
    """Whether loopctl 0.1 wrote a snapshot, which tells less of a step than later ones do."""
    return not kept.startswith("#")


def changes_since_first_edition(kept: str, found: str) -> list[str]:
    """`changes`, in what 0.1 told as it is told today."""
    return [line for line in changes(kept, found) if line[2:].partition(":")[0] in _TOLD_BY_FIRST]


def _facts_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]
