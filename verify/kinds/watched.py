"""Trained variables: which ones a step updates from their gradients, and which it leaves alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from verify.find import Detector, stopped
from verify.kinds.contract_spelling import Globs, literal
from verify.kinds.facts import Facts
from verify.kinds.frozen_late import LATE, frozen_late
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.lines import lines_of_ops, lines_of_writes
from verify.kinds.selection import frozen_among, is_empty, known, names, select
from verify.kinds.unseen import UNSEEN, unseen
from verify.kinds.violation import Violation


def _watched(detector: Detector, selection: Any, _: Asked) -> list[Violation]:
    expected = set[str]()
    if selection is not None and not is_empty(selection) and not known(detector):
        return [Violation("watched", "updates of variables", "the step has no variables")]
    if selection is not None:
        expected = {v.path for v in select(detector, selection, "watched", frozen=True)}
    found = {update.variable.path for update in detector.flow.trained}
    # What is written by hand may train a variable, in which case it may be asked for.
    found |= {*frozen_late(detector.step), *expected.intersection(unseen(detector))}
    if not expected:
        found |= {*unseen(detector)}
    violations = [*_repeated(detector), *_exchanged(detector)]
    if expected == found:
        return violations
    hints = []
    if extra := sorted(found - expected):
        hints.append(f"too many: {', '.join(extra)}")
        hints += _late(detector, extra)
        hints += [f"{path} is {UNSEEN}" for path in unseen(detector) if path in extra]
    if missing := sorted(expected - found):
        hints.append(f"missing:  {', '.join(missing)}")
        hints.extend(_why_not_trained(detector, missing))
    lines = lines_of_writes(detector, extra or found)
    return [Violation("watched", names(expected), names(found), (*hints,), lines), *violations]


def _repeated(detector: Detector) -> list[Violation]:
    again = detector.flow.repeated
    if not again:
        return []
    hints = tuple(f"{u.variable.path} is updated once more at {u.node.id}" for u in again)
    paths = names({update.variable.path for update in again})
    wanted = "one update of a variable by each gradient"
    lines = lines_of_ops(detector, (update.node for update in again))
    return [Violation("watched", wanted, f"more than one for {paths}", hints, lines)]


def _exchanged(detector: Detector) -> list[Violation]:
    others = detector.exchanged
    hints = tuple(f"{path} is updated by that of {other}" for path, other in others.items())
    wanted = "each variable updated by its own gradient"
    lines = lines_of_writes(detector, others)
    return (
        [Violation("watched", wanted, f"not the case for {names(others)}", hints, lines)]
        if hints
        else []
    )


def _unwatched(detector: Detector, selection: Any, asked: Asked) -> list[Violation]:
    # What is trained against the expectation is told as "too many" where `watched` is given.
    by_gradient = "watched" not in asked.values
    by_hand = not asked.values.get("allow_writes", False)
    if selection is None:
        raise TypeError("unwatched: None selects nothing: to check nothing, leave the keyword out")
    wanted = {v.path for v in select(detector, selection, "unwatched", frozen=True)}
    touched = {
        u.variable.path: u
        for u in detector.flow.updates
        if u.variable.path in wanted
        and (by_gradient if u.node.index in detector.flow.backward else by_hand)
    }
    behind = wanted & set(frozen_late(detector.step)) - touched.keys() if by_gradient else set()
    if not touched and not behind:
        return []
    hints = tuple(
        f"{path} is written by {update.node.id}"
        + ("" if update.node.index in detector.flow.backward else " (by hand, not by a gradient)")
        for path, update in sorted(touched.items())
    )
    hints += (*_late(detector, {*touched, *behind}),)
    wish, found = f"no update of {names(wanted)}", names({*touched, *behind})
    lines = lines_of_writes(detector, touched)
    return [Violation("unwatched", wish, found, hints, lines)]


def _late(detector: Detector, paths: Iterable[str]) -> list[str]:
    late = set(frozen_late(detector.step)).intersection(paths)
    return [f"{path}: {LATE}" for path in sorted(late)]


def _why_not_trained(detector: Detector, missing: Iterable[str]) -> list[str]:
    by_hand = {
        u.variable.path: u
        for u in detector.flow.updates
        if u.node.index not in detector.flow.backward
    }
    hints = [
        f"{path} is written by {by_hand[path].node.id}, but not from a gradient"
        for path in missing
        if path in by_hand
    ]
    lost = {u.variable.path: why for u, why in detector.flow.lost.items()}
    hints += [f"{path} is updated, but {lost[path]}" for path in missing if path in lost]
    behind = set(stopped(detector.flow))
    hints += [
        f"{path} reaches the loss only through StopGradient" for path in missing if path in behind
    ]
    return [*hints, *_by_flags(detector, [path for path in missing if path not in by_hand])]


def _by_flags(detector: Detector, missing: Iterable[str]) -> list[str]:
    """What the flags of the model say of variables that are not trained."""
    step = detector.step
    flags = step.flags
    if flags is None or step.reference is None:
        return []
    keys = {v.path: v.key for v in step.model_weights}
    own = [path for path in missing if path in keys]
    hints = frozen_among(detector, own)
    if step.owner is getattr(step.reference.model, "train_function", None):
        # What Keras makes trains everything that was trainable then.
        hints += [
            f"{path}: unfrozen after tracing, so it is not trained: compile again"
            for path in own
            if keys[path] in flags
        ]
    return hints


class _Watched(Kind):
    keywords = (
        Keyword("watched", Globs, _watched, rank=0),
        Keyword("unwatched", Globs, _unwatched, rank=1),
        Keyword("allow_writes", bool, default=False),
    )

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"written": detector.written}

    def page(self, facts: Facts) -> list[Row]:
        return [
            Row.of("watched", facts.written.watched, always=True),
            Row.listed("written by hand", facts.written.by_hand),
        ]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [
            Row.of("watched", facts.written.watched, always=True),
            Row.of("written by hand", facts.written.by_hand),
        ]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {"watched": [literal(path) for path in facts.watched]}


KIND = _Watched()
