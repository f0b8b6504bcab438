"""Control that does nothing else than a plain fit, models without it, and what they come to."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback

Data = tuple[Any, Any]
PLAIN: dict[str, Any] = {"all": {"cond": lambda self: True, True: {}, False: {}}}


def controlled(config: dict[str, Any] = PLAIN, **async_config: Any) -> LoopControllerCallback:
    return LoopControllerCallback(config, async_config)


def twin(model: keras.Model) -> keras.Model:
    """A copy with equal weights, compiled alike and never controlled."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.compile("sgd", "mse", metrics=["mae"])
    return copy


def assert_same_weights(a: keras.Model, b: keras.Model) -> None:
    for left, right in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-7)
