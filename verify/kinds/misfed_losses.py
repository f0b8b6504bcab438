"""Losses of a prediction from something else than x, or against another target than its own."""

from __future__ import annotations

from typing import Any

from verify.find import Detector, Found
from verify.kinds.violation import Violation
from verify.references import loss_name


def misfed(detector: Detector, loss: Any, found: Found) -> list[Violation]:
    """What is wrong with what a loss that was found is of."""
    if found.predicted is None:
        return []
    name = loss_name(loss)
    if made_of := detector.outputs.misfed(found.predicted, found.target):
        text = f"its prediction, {found.prediction}, is computed from {made_of}"
        return [Violation("loss", f"{name} of a prediction from x", text)]
    if found.target is None:
        return []
    if found.made and detector.alignment.is_fixed(found.target):
        text = "its target does not depend on the target that the step is given"
        return [Violation("loss", f"{name} against the target", text)]
    if instead := detector.alignment.told(found.predicted, found.target, found.made):
        text = f"its target is {instead}"
        return [Violation("loss", f"{name} of each prediction against its own target", text)]
    return []
