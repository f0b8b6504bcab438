"""A small model and its data."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest


@pytest.fixture
def model() -> keras.Model:
    """3-4-1 with an L2 kernel, compiled with a metric."""
    built = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh", kernel_regularizer="l2"),
            keras.layers.Dense(1),
        ]
    )
    built.compile("sgd", "mse", metrics=["mae"])
    return built


@pytest.fixture
def data() -> tuple[Any, Any]:
    """Eight batches of four samples."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(32, 3)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)
