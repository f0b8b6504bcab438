"""How a step clips its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from verify.clips import Bounds, describe
from verify.detect import Detector
from verify.failure import Violation

_LISTED = 4  # more gradients than that are not listed where all are alike


def clipping(detector: Detector, expected: Any) -> list[Violation]:
    if expected is None:
        return _no_clipping(detector)
    kind, lower, upper = wanted_bounds = _bounds(expected)
    wish = f"every gradient clipped to {describe(wanted_bounds)}"
    if not detector.flow.trained:
        return [Violation("clipping", wish, "no gradient reaches an update")]
    good: list[str] = []
    others: dict[str, str] = {}
    for update in detector.flow.trained:
        clips = detector.clips(update)
        wanted = [
            c for c in clips if c.kind == kind and _close(c.lower, lower) and _close(c.upper, upper)
        ]
        if any(clip.complete for clip in wanted):
            good.append(update.variable.path)
            continue
        notes = [f"clipped to {clip}" for clip in clips if clip not in wanted]
        if wanted:
            notes.append(f"clipped, but {wanted[0].misses}")
        others[update.variable.path] = "; ".join(notes) or "not clipped"
    if not others:
        return []
    total = len(good) + len(others)
    hints = tuple(f"{path}: {note}" for path, note in sorted(others.items()))
    if len(hints) > _LISTED and not good and len(set(others.values())) == 1:
        hints = (f"each of them: {hints[0].partition(': ')[2]}",)
    return [Violation("clipping", wish, f"{len(good)} of {total} gradients clipped so", hints)]


def _no_clipping(detector: Detector) -> list[Violation]:
    hints = tuple(
        f"{update.variable.path}: clipped to {clip}"
        for update in detector.flow.trained
        for clip in detector.clips(update)
    )
    if not hints:
        return []
    return [Violation("clipping", "none", f"{len(hints)} gradients clipped", hints)]


def _bounds(expected: Any) -> Bounds:
    """``(lo, hi)``, ``{"norm": n}`` or ``{"global_norm": n}``."""
    if isinstance(expected, Mapping):
        if len(expected) != 1 or not expected.keys() <= {"norm", "global_norm"}:
            raise ValueError(
                f"clipping: {expected!r} is none of (lo, hi), {{'norm': n}}, {{'global_norm': n}}"
            )
        ((kind, norm),) = expected.items()
        return kind, 0.0, float(norm)
    lower, upper = expected
    return "value", float(lower), float(upper)


def _close(a: float, b: float) -> bool:
    return bool(np.isclose(a, b, rtol=1e-3 if abs(b) < 1e-3 else 1e-5, atol=0))
