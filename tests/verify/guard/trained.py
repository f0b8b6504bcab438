"""Models for guards, of which a single step of many may do what it should not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_RANDOM = np.random.default_rng(0)
X = _RANDOM.normal(size=(64, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
BATCH = (tf.TensorSpec((8, 3)), tf.TensorSpec((8, 1)))

Fault = Callable[[keras.Model, Any], object]
"""What a model does besides, in the graph: ``(model, whether this is the step)``."""


class Faulty(keras.Sequential):
    """A model whose own train step does something else besides, in one step."""

    def __init__(self, fault: Fault, step: int) -> None:
        super().__init__(_layers(), name="faulty")
        self._fault, self._step = fault, step

    def train_step(self, data: Any) -> Any:
        done = self.optimizer.iterations.value.read_value()
        logs = super().train_step(data)
        self._fault(self, tf.equal(done + 1, self._step))
        return logs


def model(fault: Fault | None = None, step: int = 6, **compiled: Any) -> keras.Model:
    """A model with frozen first weights, compiled by Adam and a mean squared error."""
    keras.utils.set_random_seed(1)
    made = keras.Sequential(_layers(), name="right") if fault is None else Faulty(fault, step)
    made.layers[0].trainable = False
    made.compile(**{"optimizer": "adam", "loss": "mse", **compiled})
    return made


def fit(trained: keras.Model, *callbacks: Any, epochs: int = 2) -> list[float]:
    """Trains it on 8 batches an epoch; the losses."""
    history = trained.fit(
        X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=[*callbacks]
    )
    return [float(loss) for loss in history.history["loss"]]


def _layers() -> list[Any]:
    layers = keras.layers
    return [
        keras.Input((3,)),
        layers.Dense(4, name="frozen"),
        layers.Dense(4, "relu", name="hidden"),
        layers.Dense(1, name="head"),
    ]
