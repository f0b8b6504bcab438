"""A config in a `fit`, held against its twin in an eager loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

import verify
from loopctl import LoopControllerCallback
from tests.loopctl.compile.test_accumulation import assert_alike
from tests.oracle import eager
from tests.replicas import mirrored


def assert_trains_as_its_twin(
    build: Callable[..., keras.Model],
    fitted: Callable[..., LoopControllerCallback],
    configs: tuple[Any, Any],
    batches: Sequence[Any],
    way: tuple[int, bool, dict[str, Any]],
) -> LoopControllerCallback:
    """In one way of running steps; a step without options is verified as well.

    Args:
        build: the model, of an optimizer.
        fitted: the callback after a `fit` of a model.
        configs: the config, and its twin for an eager loop.
        batches: of the `fit`.
        way: replicas, whether the loss is scaled, and options of `compile`.
    """
    replicas, scaled, options = way
    reference = build(keras.optimizers.SGD(0.1, momentum=0.9))
    expected = eager.train(reference, configs[1], batches)
    with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 8.0) if scaled else optimizer
        model = build(optimizer, **options)
    callback = fitted(model, configs[0])
    for name in ("loss", "loss_more"):
        losses = [step[name] for step in expected]
        np.testing.assert_allclose(callback.history.column(name), losses, rtol=1e-4)
    assert_alike(model, reference)
    if not options:
        verify.assert_config(model, callback, batches[0])
    return callback
