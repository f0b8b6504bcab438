"""The facts of a step as lines that stay the same as long as the step does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from verify.clips import describe
from verify.page import times
from verify.step_facts import GuardFact, StepFacts


def golden(facts: StepFacts) -> str:
    """One fact per line, sorted within its kind.

    Left out is what another version of TensorFlow may change though the step is the same: counts
    of ops and bytes, and names of ops.
    """
    written = facts.written
    terms = [f"{t.kind} on {t.variable}{times(t.weight)}" for t in facts.regularization]
    clips = [
        f"{describe((c.kind, c.lower, c.upper))} on {c.variable}{' in part' * (not c.complete)}"
        for c in facts.clipping
    ]
    losses = [
        f"{loss.name}{times(loss.weight)}"
        + (f" scaled by {', '.join(loss.scaled_by)}" if loss.scaled_by else "")
        for loss in facts.losses
    ]
    lines = [
        *_lines("loss", losses or ["none"]),
        *_lines("regularization", terms or ["none"]),
        *_lines("clipping", clips or ["none"]),
        *_lines("watched", written.watched or ["none"]),
        *_lines("written by hand", written.by_hand),
        *_lines("weight decay", facts.decayed),
        *_lines("stopped", facts.stopped),
        *_lines("optimizer state", written.slots),
        *_lines("accumulator", written.accumulators),
        *_lines("average", written.averages),
        *_lines("statistic", written.statistics),
        *_lines("counter", written.counters),
        *_lines("read only", facts.read_only),
        *_lines("custom gradient", facts.custom_gradients),
        *_lines("guard", map(_guard, facts.guards)),
        *_lines("hazard", (f"{h.op} ({h.kind})" for h in facts.hazards)),
    ]
    return "\n".join(lines) + "\n"


def changes(before: str, after: str) -> list[str]:
    """The lines that are in only one of two goldens, as ``- line`` and ``+ line``."""
    compared = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in compared if line.startswith(("- ", "+ "))]


def _lines(kind: str, entries: Iterable[str]) -> Iterator[str]:
    return (f"{kind}: {entry}" for entry in sorted(entries))


def _guard(guard: GuardFact) -> str:
    chosen_by = ", ".join(guard.variables) or "data"
    if guard.frozen is not None:
        chosen_by = f"always {guard.frozen}"
    trains = " | ".join(", ".join(names) or "nothing" for names in guard.trains)
    return f"{chosen_by} chooses what is trained: {trains}" if any(guard.trains) else chosen_by
