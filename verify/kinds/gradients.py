"""What is done to gradients between backpropagation and the optimizer, besides clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from verify.find import Comparison, Detector
from verify.flow import Update
from verify.kinds.facts import Facts, TreatmentFact
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.match import ROUNDED
from verify.references import ObjectiveGradients

_LISTED = 4  # variables that are named one by one


def factor_of(detector: Detector, paths: Iterable[str]) -> float:
    """The number that the gradients of all these variables are multiplied by; 1 if there is none.

    It is told where all have the same one: others are rates of single layers.
    """
    wanted = set(paths)
    every = (factor(detector, u) for u in detector.flow.trained if u.variable.path in wanted)
    factors = [one for one in every if one is not None]
    first = factors[0] if factors else 1.0
    return first if np.allclose(factors, first, rtol=1e-4, atol=0) else 1.0


def astray(detector: Detector, paths: Iterable[str]) -> list[str]:
    """The variables for which what enters the optimizer leads another way than the gradient."""
    wanted, found = set(paths), list[str]()
    for update in detector.flow.trained:
        treatment = detector.treatment_of(update)
        if update.variable.path in wanted and treatment is not None and not treatment.follows:
            found.append(update.variable.path)
    return found


def factor(detector: Detector, update: Update) -> float | None:
    """What one gradient is multiplied by; minus that where it is added to its variable."""
    treatment, rule = detector.treatment_of(update), detector.rule_of(update)
    ascends = rule is not None and rule.rate is not None and rule.rate < 0
    times = None if treatment is None else treatment.factor
    if times is None:
        return -1.0 if ascends else None
    if np.isclose(times, 1.0, rtol=ROUNDED.get(update.variable.dtype, 0.0), atol=0):
        times = 1.0
    return -times if ascends else times


def compared(
    detector: Detector, updates: Iterable[Update], reference: ObjectiveGradients, asked: Asked
) -> dict[Update, Comparison]:
    """How what enters the optimizer compares with the gradients of a function.

    Of the updates of variables that it depends on; with what gradients are multiplied by on their
    way, unless ``allow_transforms`` is asked for.
    """
    known = [update for update in updates if update.variable.key in reference.gradients]
    found = detector.objectives.compared(known, reference)
    if asked.values.get("allow_transforms", False):
        return found
    return {update: _times(one, factor(detector, update)) for update, one in found.items()}


def _times(comparison: Comparison, after: float | None) -> Comparison:
    if comparison.factor is None or comparison.zero or after is None:
        return comparison
    return dataclasses.replace(comparison, factor=comparison.factor * after)


def told(facts: Iterable[TreatmentFact], every: int) -> list[str]:
    """One line for each thing that is done, with the variables whose gradients it is done to."""
    by: dict[str, list[str]] = {}
    for fact in facts:
        by.setdefault(str(fact), []).append(fact.variable)
    return [f"{done} on {_names(paths, every)}" for done, paths in sorted(by.items())]


def _names(paths: list[str], every: int) -> str:
    if len(paths) == every > 1:
        return "every watched variable"
    listed = ", ".join(sorted(paths)[:_LISTED])
    return listed if len(paths) <= _LISTED else f"{listed} and {len(paths) - _LISTED} more"


def _facts(detector: Detector, update: Update) -> Iterator[TreatmentFact]:
    treatment = detector.treatment_of(update)
    if treatment is None:
        return
    factor, path = treatment.factor, update.variable.path
    if treatment.kind == "other":
        clipped = any(clip.complete for clip in detector.clips(update))
        if not clipped or detector.is_changed_before(update):
            yield TreatmentFact(path, None, treatment.limits and not clipped)
    # A loss scale divides gradients as well: whether it should is told with the loss.
    elif detector.search.scaling.dynamic:
        return
    elif factor is not None and not np.isclose(factor, 1.0, rtol=1e-4):
        yield TreatmentFact(path, factor, treatment.limits)


class _Gradients(Kind):
    keywords = (Keyword("allow_transforms", bool, default=False),)

    def find(self, detector: Detector) -> dict[str, Any]:
        found = (fact for update in detector.flow.trained for fact in _facts(detector, update))
        return {"treated": tuple(dict.fromkeys(found))}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("gradients", told(facts.treated, len(facts.watched)))]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("gradient", (f"{one} on {one.variable}" for one in facts.treated))]


KIND = _Gradients()
