"""What a step differentiates instead of what was asked for, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verify.find import LOSS_DRAWS, Detector, Disjoint, Witness, known_losses
from verify.flow import Update
from verify.formulas import formulas
from verify.references import known_name, loss_name, other_reductions

UNNAMED = "loss without a name"
_APART = 1e-3  # of the largest element: less is no example of a difference


def told_instead(
    detector: Detector, recognised: Disjoint, missing: list[Any], rest: Sequence[Update]
) -> tuple[str, bool]:
    """The losses that reach `rest`: by name, or as a formula; and whether it is by name.

    Args:
        recognised: losses that were asked for and found.
        missing: those that were not found.
        rest: updates that are not explained by what was found.
    """
    if not rest:
        return "", True
    if others := _other_losses(detector, recognised, missing):
        return " and ".join(others), True
    paths = {update.variable.path for update in rest}
    told = [one.formula for one in formulas(detector) if not paths.isdisjoint(one.variables)]
    formula = " and ".join(told) or "which has no name in Keras"
    return f"another data loss, {formula},", False


def _other_losses(detector: Detector, recognised: Disjoint, missing: list[Any]) -> list[str]:
    """What the remaining data gradients are the gradients of.

    Asked for are the losses that Keras knows, and the missing ones in other reductions.
    """
    known = [(known_name(loss), found) for loss, found in known_losses(detector)]
    for loss in missing:
        for other in () if detector.rules_out(loss) else other_reductions(loss):
            known += [(loss_name(other), found) for found in detector.losses(other)[0]]
    told = []
    for name, found in known:
        if recognised.fresh([found]):
            recognised.add([found])
            weighted = "" if found.weight in (None, 1.0) else f" with weight {found.weight:.6g}"
            told.append(name + weighted + (f" of {found.prediction}" if found.prediction else ""))
    return told


def example(detector: Detector, loss: Any) -> tuple[str, ...]:
    """Numbers that show that no gradient is that of a loss; none where nothing shows it."""
    for draw in range(LOSS_DRAWS):
        sides = detector.loss_sides(loss, draw)
        nearest = min(sides, key=lambda one: one.apart, default=None)
        if nearest is not None and nearest.apart > _APART:
            return (str(Witness(draw, nearest)),)
    return ()
