"""The optimizer that updates weights is found inside of one that scales losses."""

from __future__ import annotations

import keras

from loopctl_shared import inner_optimizer


def test_loss_scaling_is_taken_off() -> None:
    inner = keras.optimizers.SGD()
    assert inner_optimizer(keras.optimizers.LossScaleOptimizer(inner)) is inner
    assert inner_optimizer(inner) is inner
