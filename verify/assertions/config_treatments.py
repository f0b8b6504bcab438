"""What a branch of a config makes of its gradients, and which variables a function's train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from verify.assertions.config_gradients import Loss
from verify.assertions.config_updates import UnsaidError
from verify.find import Detector
from verify.flow import Update
from verify.graphs import Tensor, key_of
from verify.kinds import Violation
from verify.match import NoValueError
from verify.references import ObjectiveGradients, Untraced, objective_gradients

_EXACT = 1e-3  # of a factor
UNPAIRED = "it draws a random number"  # that the step does not draw: noise that is left out


def treated_otherwise(
    detector: Detector, made: Loss, settings: Mapping[str, Any]
) -> list[Violation]:
    """Whether what enters the optimizer is what the branch's function makes of the gradients.

    Args:
        made: has the gradients that should enter it.

    Raises:
        UnsaidError: that can't be told.
    """
    if settings.get("accumulate", 1) > 1 or settings.get("per_example", {}).get("noise"):
        raise UnsaidError("what the function is given is not what a batch comes to")
    reference = _reference(detector, made)
    known = [u for u in detector.flow.trained if u.variable.key in reference.gradients]
    entries = {update: _entry(detector, update) for update in known}
    compared = detector.objectives.compared_at(entries, reference) if entries else {}
    wrong: dict[str, list[str]] = {}
    for update, one in compared.items():
        if one.unknown and UNPAIRED not in one.unknown:
            raise UnsaidError(one.unknown)
        if one.factor is None or not np.isclose(one.factor, 1.0, rtol=_EXACT):
            told = "another" if one.factor is None else f"{one.factor:.6g} times that"
            told = one.unknown or told
            wrong.setdefault(told, []).append(update.variable.path)
    wish = f"what {getattr(settings['gradients'], '__name__', 'a function')} makes of each gradient"
    return [
        Violation("gradients", wish, f"{told}: {', '.join(sorted(paths))}")
        for told, paths in wrong.items()
    ]


def _reference(detector: Detector, made: Loss) -> ObjectiveGradients:
    arguments = detector.step.arguments
    if arguments is None:
        raise UnsaidError("the graph does not say what its arguments are")
    try:
        return objective_gradients(made, arguments)
    except Untraced as why:
        raise UnsaidError(str(why)) from None


def _entry(detector: Detector, update: Update) -> Tensor:
    """What enters the optimizer that a branch is said to have."""
    optimizer = detector.expected.get(update.variable.key)
    rule = None if optimizer is None else detector.made_as(update, optimizer)
    if rule is None:
        raise UnsaidError("what enters the optimizer is not known")
    return rule.entry


def left_out(detector: Detector, function: Loss, chosen: list[Any]) -> list[Violation]:
    """Which variables that a branch has chosen are not trained, though its function takes them.

    Raises:
        UnsaidError: that can't be told.
    """
    trained = {update.variable.key for update in detector.flow.trained}
    missing = {key_of(v): v.path for v in chosen if key_of(v) not in trained}
    if not missing:
        return []
    reference = _reference(detector, function)
    try:
        decided = detector.objectives.decided_by(reference)
    except NoValueError as why:
        raise UnsaidError(str(why)) from None
    paths = sorted(path for key, path in missing.items() if key in decided)
    if not paths:
        return []
    return [
        Violation("watched", "all that the branch has chosen", f"not trained: {', '.join(paths)}")
    ]
