"""Variables that something trains which is not known: written from data and weights, by no tape."""

from __future__ import annotations

from verify.find import Detector

UNSEEN = "written from data and weights, but by no known backward pass"


def unseen(detector: Detector) -> list[str]:
    """Paths of the trainable variables that a step so writes, and does not train otherwise."""
    trained = {update.variable.path for update in detector.flow.trained}
    return sorted({u.variable.path for u in detector.flow.unseen} - trained)
