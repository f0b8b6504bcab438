"""The facts of a step as a page a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.clips import describe

if TYPE_CHECKING:
    from verify.step_facts import ClipFact, GuardFact, LossFact, StepFacts

_WIDTH = 17
_LISTED = 8  # more clips than that are not listed where all are alike


def page(facts: StepFacts) -> str:
    written = facts.written
    lines = [
        f"{facts.name}: {facts.op_count} ops, {facts.constant_bytes} bytes of constants, "
        f"{facts.variable_bytes} of variables"
    ]
    _section(lines, "loss", [_loss(loss) for loss in facts.losses])
    terms = [f"{t.kind} on {t.variable}{times(t.weight)}" for t in facts.regularization]
    _section(lines, "regularization", terms)
    _section(lines, "clipping", _clips(facts))
    _section(lines, "watched", list(written.watched))
    for title, names in (
        ("written by hand", written.by_hand),
        ("weight decay", facts.decayed),
        ("stopped", facts.stopped),
        ("optimizer state", written.slots),
        ("accumulators", written.accumulators),
        ("averages", written.averages),
        ("statistics", written.statistics),
        ("counters", written.counters),
        ("read only", facts.read_only),
    ):
        if names:
            _section(lines, title, [", ".join(names)])
    if facts.custom_gradients:
        _section(lines, "custom gradients", list(facts.custom_gradients))
    if facts.guards:
        _section(lines, "guards", [_guard(guard) for guard in facts.guards])
    if facts.hazards:
        _section(lines, "hazards", [f"{h.kind}: {h.count} {h.op}" for h in facts.hazards])
    return "\n".join(lines)


def _section(lines: list[str], title: str, entries: list[str]) -> None:
    for position, entry in enumerate(entries or ["none"]):
        lines.append(f"  {title if position == 0 else '':<{_WIDTH}} {entry}")


def _loss(loss: LossFact) -> str:
    where = f" of {loss.prediction}" if loss.prediction else ""
    scaled = f" scaled by {', '.join(loss.scaled_by)}" if loss.scaled_by else ""
    return f"{loss.name}{where}{times(loss.weight)}{scaled}"


def _clips(facts: StepFacts) -> list[str]:
    """A line for each clip, or one for all where every trained variable has the same."""
    kinds = {(c.kind, c.lower, c.upper, c.misses) for c in facts.clipping}
    clipped = sorted(c.variable for c in facts.clipping)
    if len(clipped) <= _LISTED or len(kinds) > 1 or clipped != sorted(facts.watched):
        return [_clip(clip) for clip in facts.clipping]
    ((kind, lower, upper, misses),) = kinds
    told = f"{describe((kind, lower, upper))} on every watched variable"
    return [f"{told} ({misses})" if misses else told]


def _clip(clip: ClipFact) -> str:
    told = describe((clip.kind, clip.lower, clip.upper))
    return f"{told} on {clip.variable}" + (f" ({clip.misses})" if clip.misses else "")


def _guard(guard: GuardFact) -> str:
    chosen_by = ", ".join(guard.variables) or "data"
    if guard.frozen is not None:
        chosen_by = f"always {guard.frozen} (a frozen Python value)"
    trains = [", ".join(names) or "nothing" for names in guard.trains]
    told = f"; trains {' | '.join(trains)}" if any(guard.trains) else ""
    return f"{chosen_by} -> {guard.op} {guard.place}{told}"


def times(weight: float | None) -> str:
    return "" if weight is None or np.isclose(weight, 1) else f" times {weight:.6g}"
