"""Objectives: of which function's value the gradients are that update variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from verify.find import Comparison, Detector, Sides, Witness
from verify.flow import Update
from verify.formulas import ObjectiveFact, formulas
from verify.graphs import Tensor
from verify.kinds.dotted_names import imported
from verify.kinds.facts import Facts
from verify.kinds.gradients import compared, factor
from verify.kinds.kind import Asked, Keyword, Kind, Read, Row
from verify.kinds.lines import lines_of_losses
from verify.kinds.selection import by_model, frozen_among, names, select
from verify.kinds.violation import UNTOLD, Violation
from verify.match import NoValueError
from verify.references import ObjectiveGradients, Untraced, objective_gradients, objective_name

_NONE = "no gradient reaches an update"
_OTHER = "another gradient"
_CHANGED = "that gradient, but it is changed before it enters the optimizer"
_DRAWS = (
    "random numbers are paired by what is drawn and by their order: a function has to draw, and to "
    "call layers that draw, as the step does"
)


def _check(detector: Detector, expected: Any, asked: Asked) -> list[Violation]:
    trained = detector.flow.trained
    if not isinstance(expected, Mapping):
        return _of_function(detector, expected, list(trained), asked)
    violations: list[Violation] = []
    for selection, function in expected.items():
        chosen = {v.path for v in select(detector, selection, "objective", frozen=True)}
        updates = [update for update in trained if update.variable.path in chosen]
        violations += _of_function(detector, function, updates, asked, chosen)
    return violations


def _of_function(
    detector: Detector,
    function: Any,
    updates: list[Update],
    asked: Asked,
    chosen: set[str] | None = None,
) -> list[Violation]:
    """What is not as one function says; `chosen`: the variables that were selected by name."""
    if function is None:
        paths = {update.variable.path for update in updates}
        found = f"updated from a gradient: {names(paths)}"
        return [Violation("objective", _NONE, found)] if paths else []
    if not callable(function):
        raise TypeError(f"objective: {function!r} is not a function of the step's arguments")
    wish = f"the gradient of {objective_name(function)}"
    arguments = detector.step.arguments
    if arguments is None:
        told = f"{UNTOLD}: the graph does not say what its arguments are"
        return [Violation("objective", wish, told)]
    try:
        reference = objective_gradients(function, arguments)
    except Untraced as why:
        return [Violation("objective", wish, f"{UNTOLD}: {why}")]
    if not updates:
        return [Violation("objective", wish, _NONE, (*frozen_among(detector, chosen or ()),))]
    instead, witnesses = _told(detector, updates, reference, asked)
    left_out = _left_out(detector, updates, reference, chosen or set())
    if left_out:
        instead["no gradient"] = sorted(left_out)
    lines = lines_of_losses(detector) if instead else ()
    shown = max(witnesses, key=lambda one: one.sides.apart, default=None)
    hints = {_OTHER: (*([str(shown)] if shown else []), *([_DRAWS] if reference.draws else []))}
    return [
        Violation("objective", wish, f"{what}: {names(paths)}", hints.get(what, ()), lines)
        for what, paths in instead.items()
    ]


def _told(
    detector: Detector, updates: list[Update], reference: ObjectiveGradients, asked: Asked
) -> tuple[dict[str, list[str]], list[Witness]]:
    """What updates variables instead, with their paths; and numbers that show it."""
    by_update = compared(detector, updates, reference, asked)
    by_update |= _as_they_enter(detector, by_update, reference)
    by_update |= _on_their_way(detector, by_update, reference)
    changed = set[Update]()
    if not asked.values.get("allow_transforms", False):
        changed = _changed(detector, by_update, reference)
    found: dict[str, list[str]] = {}
    for update in updates:
        if update not in by_update:
            what = f"the gradient of something else: {reference.name} does not depend on them"
        elif update in changed:
            what = _CHANGED
        else:
            what = _difference(by_update[update])
        if what and update.variable.path not in found.setdefault(what, []):
            found[what].append(update.variable.path)
    witnesses = [one.witness for one in by_update.values() if one.witness is not None]
    return {what: paths for what, paths in found.items() if paths}, witnesses


def _as_they_enter(
    detector: Detector, found: Mapping[Update, Comparison], reference: ObjectiveGradients
) -> dict[Update, Comparison]:
    """What enters the optimizer, where that is as the function says, or tells more about it.

    So a function may say what is made of gradients after they were taken: those of single examples,
    each clipped, with noise added to what they come to. Where all are zero, on both sides, what
    enters is of something else: noise, or what was kept.
    """
    others = [update for update, one in found.items() if _difference(one) and not one.zero]
    later = _at_entry(detector, others, reference)
    return {
        update: one
        for update, one in later.items()
        if not _difference(one) or (found[update].unknown and not one.unknown)
    }


def _on_their_way(
    detector: Detector, found: Mapping[Update, Comparison], reference: ObjectiveGradients
) -> dict[Update, Comparison]:
    """What is made of gradients until they are clipped or added up, where that is as expected.

    They are divided by a loss scale first, say, and what enters the optimizer is no longer theirs.
    Where it is known by what a gradient is multiplied until then, that counts instead.
    """
    left = {
        u: list(detector.made_of(u))
        for u, one in found.items()
        if _difference(one) and _is_doubtful(detector, u)
    }
    settled: dict[Update, Comparison] = {}
    for place in range(max(map(len, left.values()), default=0)):
        there = {u: way[place] for u, way in left.items() if place < len(way) and u not in settled}
        later = detector.objectives.compared_at(there, reference) if there else {}
        settled |= {u: one for u, one in later.items() if not _difference(one)}
    return settled


def _is_doubtful(detector: Detector, update: Update) -> bool:
    return bool(detector.flow.scales) or factor(detector, update) is None


def _changed(
    detector: Detector, found: Mapping[Update, Comparison], reference: ObjectiveGradients
) -> set[Update]:
    """Those that are as the function says, and of which another thing enters the optimizer.

    By no clip, nor by a limit of another kind, which are left to `clipping`: noise is added, say,
    before a clip or without one.
    """
    suspects, clipped = list[Update](), dict[Update, Tensor]()
    for update in (u for u, one in found.items() if not _difference(one)):
        done = detector.treatment_of(update)
        if done is None or done.kind != "other":
            continue
        if any(clip.complete for clip in detector.clips(update)):
            taken = detector.clipped_of(update) if detector.is_changed_before(update) else None
            clipped |= {} if taken is None else {update: taken}
        elif not done.limits:
            suspects.append(update)
    later = _at_entry(detector, suspects, reference)
    later |= detector.objectives.compared_at(clipped, reference) if clipped else {}
    return {u for u, one in later.items() if one.factor is None and not one.unknown}


def _at_entry(
    detector: Detector, updates: Iterable[Update], reference: ObjectiveGradients
) -> dict[Update, Comparison]:
    """How what enters the optimizer compares with the function, where that is known."""
    rules = {update: detector.rule_of(update) for update in updates}
    entries = {u: rule.entry for u, rule in rules.items() if rule is not None and rule.decided}
    return detector.objectives.compared_at(entries, reference) if entries else {}


def _difference(comparison: Comparison) -> str:
    """How a gradient differs; empty if it does not."""
    if comparison.unknown:
        return f"{UNTOLD}: {comparison.unknown}"
    if comparison.factor is None:
        return _OTHER
    if np.isclose(comparison.factor, 1.0, rtol=1e-3):
        return ""
    return f"{comparison.factor:.6g} times that"


def _left_out(
    detector: Detector, updates: list[Update], reference: ObjectiveGradients, chosen: set[str]
) -> set[str]:
    """Selected variables that the function depends on, and that the step does not train."""
    trained = {update.variable.key for update in updates}
    paths = detector.step.paths
    return {
        paths.get(key, reference.paths[key])
        for key in reference.gradients
        if key not in trained and paths.get(key, reference.paths[key]) in chosen
    }


def _sides(detector: Detector, expected: Any, draw: int) -> list[Sides]:
    """Both gradients by each variable; raises Untraced as well."""
    arguments = detector.step.arguments
    if arguments is None:
        raise NoValueError("the graph does not say what its arguments are")
    found: list[Sides] = []
    functions = expected if isinstance(expected, Mapping) else {None: expected}
    for selection, function in functions.items():
        updates = detector.flow.trained
        if selection is not None:
            chosen = {v.path for v in select(detector, selection, "objective", frozen=True)}
            updates = [update for update in updates if update.variable.path in chosen]
        if function is not None:
            reference = objective_gradients(function, arguments)
            of_it = [update for update in updates if update.variable.key in reference.gradients]
            found += detector.objectives.sides(of_it, reference, draw)
    return found


# -- contracts -------------------------------------------------------------------------------------


def _read(place: str, said: Any, _: Read) -> Any:
    if isinstance(said, dict):
        return {key: imported(f"{place}[{key!r}]", name) for key, name in said.items()}
    return imported(place, said)


def _of_some(one: ObjectiveFact, facts: Facts) -> str:
    if set(one.variables) == set(facts.watched):
        return ""
    return f"for {by_model(one.variables, facts.watched)}"


def _where(one: ObjectiveFact, facts: Facts) -> str:
    """What was written before a pass: other models, or those that it trains, moved aside."""
    own = [path for path in one.moved if path in one.variables]
    others = [path for path in one.moved if path not in one.variables]
    told = []
    if others:
        verb = "is" if len(others) == 1 else "are"
        told.append(f"after {by_model(others, facts.watched)} {verb} written")
    if own:
        told.append(f"where the step has moved {by_model(own, facts.watched)} to before")
    return ", ".join(told)


class _Objective(Kind):
    keywords = (
        Keyword(
            "objective",
            str | dict[str, str],
            _check,
            rank=2,
            read=_read,
            sides=_sides,
            by_entry=True,
        ),
    )

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"objectives": (*formulas(detector),)}

    def page(self, facts: Facts) -> list[Row]:
        # A single loss that has a name is told as such.
        plain = len(facts.objectives) == 1 and facts.objectives[0].known
        told = (
            ", ".join(filter(None, (one.formula, _of_some(one, facts), _where(one, facts))))
            for one in facts.objectives
            if one.moved or not plain
        )
        return [Row.of("objective", told)]

    def snapshot(self, facts: Facts) -> list[Row]:
        # The same in another spelling is no change: losses have fingerprints.
        moved = (_where(one, facts) for one in facts.objectives)
        return [Row.of("passes", filter(None, moved))]


KIND = _Objective()
