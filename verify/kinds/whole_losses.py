"""Losses in no one place of a step: of parts of a batch, or of a model that is called in a loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from verify.find import Detector
from verify.kinds.gradients import compared
from verify.kinds.kind import Asked
from verify.kinds.violation import Violation, weight
from verify.references import Untraced, losses_of_outputs, objective_gradients


def as_a_whole(
    detector: Detector, losses: Sequence[tuple[Any, Any]], name: str, asked: Asked
) -> list[Violation] | None:
    """What is wrong with a weighted sum of losses, of which the step shows parts at the most.

    The losses are those of what the model makes of x, as a whole, and of y. None where the step
    trains by something else, where model, x and y are not known, and where the model is called
    once, so that its loss is in one place.
    """
    numbers = all(isinstance(factor, int | float) for _, factor in losses)
    if not numbers or detector.outputs.is_called_once:
        return None
    times = _times(detector, losses, asked)
    if times is None:
        return None
    expected = losses[0][1] if len(losses) == 1 else 1.0
    return weight("loss", name, times * expected, expected)


def _times(detector: Detector, losses: Sequence[tuple[Any, float]], asked: Asked) -> float | None:
    """By what the gradient of the sum is multiplied in all that the step trains, if by a number."""
    step, trained = detector.step, detector.flow.trained
    if step.reference is None or step.reference.x is None or step.arguments is None:
        return None
    for function in losses_of_outputs(step.reference, losses):
        try:
            reference = objective_gradients(function, step.arguments)
        except Untraced:
            return None
        found = compared(detector, trained, reference, asked)
        factors = [one.factor for one in found.values() if one.factor is not None]
        if 0 < len(factors) == len(trained) and np.allclose(factors, factors[0], rtol=1e-3):
            return factors[0]
    return None
