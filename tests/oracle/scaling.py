"""Scales of losses, for the eager loop."""

from __future__ import annotations

from typing import Any

import keras

from tests.oracle.groups import Scaled


def scale_of(optimizer: Any) -> float:
    """What an optimizer divides gradients by, whose loss is to be multiplied by it."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer | Scaled):
        return float(optimizer.dynamic_scale)
    return float(getattr(optimizer, "loss_scale_factor", None) or 1.0)
