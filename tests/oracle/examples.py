"""The oracle's gradients of single examples: one after another, in a plain loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def mean_of_clipped(
    gradients_of: Callable[[Mapping[str, Any], Any], list[Any]],
    settings: Mapping[str, Any],
    batch: Any,
    clip: float,
) -> list[Any]:
    """The mean over a batch of each example's gradient, clipped; then that of regularisers.

    Args:
        gradients_of: the gradients of the loss that some settings mean on some batch, None where
            there is none.
    """
    alone = {k: v for k, v in settings.items() if k not in ("regularize", "per_example")}
    count = len(batch[0])
    sums: list[Any] = []
    for i in range(count):
        found = gradients_of(alone, tuple(part[i : i + 1] for part in batch))
        norm = sum(float(np.sum(np.square(g))) for g in found if g is not None) ** 0.5
        clipped = [None if g is None else g * min(1.0, clip / max(norm, 1e-30)) for g in found]
        sums = _added(sums, clipped) if sums else clipped
    means = [None if s is None else s / count for s in sums]
    if not settings.get("regularize", False):
        return means
    terms = {"loss": None, "regularize": settings["regularize"]}
    return _added(means, gradients_of(terms, batch))


def _added(some: list[Any], others: list[Any]) -> list[Any]:
    return [
        a if b is None else b if a is None else a + b for a, b in zip(some, others, strict=True)
    ]
