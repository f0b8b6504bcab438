"""The same training step of several models, and of one that is another."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

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


def other() -> Any:
    return _made("small", [2], keras.optimizers.Adam(0.001), "mae")
