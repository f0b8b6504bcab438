"""The same training step of several models, and of one that is another."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl import LoopControllerCallback, when

BATCH = (tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1)))


def _made(name: str, widths: list[int], optimizer: Any, loss: str = "mse") -> Any:
    layers = [keras.layers.Dense(n, "relu", name=f"hidden_{i}") for i, n in enumerate(widths)]
    head = keras.layers.Dense(1, name="head")
    model = keras.Sequential([keras.Input((4,)), *layers, head], name=name)
    model.compile(optimizer, loss)
    return model, BATCH


def small() -> Any:
    return _made("small", [2], keras.optimizers.Adam(0.001, clipvalue=0.5))


def large() -> Any:
    return _made("large", [8, 8], keras.optimizers.Adam(0.001, clipvalue=0.5))


def faster() -> Any:
    return _made("small", [2], keras.optimizers.Adam(0.01, clipvalue=0.5))


def by_another_rule() -> Any:
    return _made("small", [2], keras.optimizers.SGD(0.002, clipvalue=0.5))


def with_momentum() -> Any:
    return _made("small", [2], keras.optimizers.Adam(0.001, beta_1=0.5, clipvalue=0.5))


def tighter() -> Any:
    return _made("small", [2], keras.optimizers.Adam(0.001, clipvalue=0.25))


def drawn() -> Any:
    """Another clip for each seed."""
    clip = float(np.random.default_rng(int(keras.random.randint((), 0, 1000))).uniform(0.1, 1.0))
    return _made("drawn", [2], keras.optimizers.Adam(0.001, clipvalue=clip))


def other() -> Any:
    return _made("small", [2], keras.optimizers.Adam(0.001), "mae")


def _controlled(first: dict[str, Any]) -> Any:
    model, batch = _made("small", [2], keras.optimizers.SGD(0.01))
    LoopControllerCallback({"clip": {"cond": when.epochs < 3, True: first, False: {}}}).attach(
        model
    )
    return model, batch


def clipped_at_first() -> Any:
    return _controlled({"clipping": (-0.1, 0.1)})


def clipped_less_at_first() -> Any:
    return _controlled({"clipping": (-0.5, 0.5)})


def another_loss_at_first() -> Any:
    return _controlled({"clipping": (-0.1, 0.1), "loss": "mae"})


def not_clipped_at_all() -> Any:
    return _controlled({})
