"""Which data losses a step differentiates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from verify.detect import Detector
from verify.failure import Violation, nearest, weight
from verify.loss_reference import Itself, loss_name, other_reductions
from verify.match import Miss
from verify.search import Disjoint, Found
from verify.selection import names
from verify.step_facts import known_losses

_SCALE_IT = (
    "a scale multiplies what is differentiated (optimizer.scale_loss), and divides gradients"
)


def losses(detector: Detector, expected: Any) -> list[Violation]:
    wanted = _weighted(expected)
    violations: list[Violation] = []
    recognised = Disjoint()
    missing: list[tuple[Any, Miss | None]] = []
    # A list may name one loss several times: each stands for one place where it acts.
    queues: dict[tuple[Itself, float], Iterator[Found]] = {}
    for loss, factor in wanted:
        found, miss = detector.losses(loss)
        key = (Itself(loss), factor)
        if key not in queues:
            queues[key] = _nearest_first(found, factor)
        one = next((f for f in queues[key] if recognised.fresh([f])), None)
        if one is None:
            missing.append((loss, miss))
            continue
        recognised.add([one])
        violations += weight("loss", loss_name(loss), one.weight, factor)
        for wrong in detector.search.scaling.misuse(one.upstream, one.updates):
            text = f"its gradient is {wrong}"
            violations.append(Violation("loss", loss_name(loss), text, (_SCALE_IT,)))
    rest = detector.rest([*recognised.all, *detector.terms])[0]
    others = _other_losses(detector, recognised, [loss for loss, _ in missing]) if rest else []
    trained = names({update.variable.path for update in rest})
    instead = " and ".join(others) or "another data loss, none of Keras in its default settings,"
    for loss, miss in missing:
        text = "no gradient of it reaches an update"
        if rest:
            text = f"{instead} reaches the update of {trained}"
        violations.append(Violation("loss", loss_name(loss), text, nearest(miss)))
    if rest and not missing:
        only = (
            " and ".join(loss_name(loss) for loss, _ in wanted) + " only"
            if wanted
            else "no data loss"
        )
        violations.append(Violation("loss", only, f"{instead} reaches the update of {trained}"))
    return violations


def _nearest_first(found: list[Found], factor: float) -> Iterator[Found]:
    """Those multiplied by the expected factor, then the others."""
    return iter(
        sorted(found, key=lambda f: f.weight is not None and not np.isclose(f.weight, factor))
    )


def _weighted(expected: Any) -> list[tuple[Any, float]]:
    """Expected losses, each with the constant factor that multiplies it."""
    if expected is None:
        return []
    several = isinstance(expected, list | tuple) and not _is_pair(expected)
    return [one if _is_pair(one) else (one, 1.0) for one in (expected if several else [expected])]


def _is_pair(expected: Any) -> bool:
    return (
        isinstance(expected, tuple)
        and len(expected) == 2
        and isinstance(expected[1], int | float)
        and not isinstance(expected[1], bool)
    )


def _other_losses(detector: Detector, recognised: Disjoint, missing: list[Any]) -> list[str]:
    """What the remaining data gradients are the gradients of.

    Asked for are the losses that Keras knows, and the missing ones in other reductions.
    """
    known = known_losses(detector)
    for loss in missing:
        for other in other_reductions(loss):
            known += [(loss_name(other), found) for found in detector.losses(other)[0]]
    told = []
    for name, found in known:
        if recognised.fresh([found]):
            recognised.add([found])
            weighted = "" if found.weight in (None, 1.0) else f" with weight {found.weight:.6g}"
            told.append(name + weighted + (f" of {found.prediction}" if found.prediction else ""))
    return told
