"""Weights of classes as weights of samples, as Keras makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np


def sample_weights(y: Any, class_weight: Mapping[int, float]) -> Any:
    """The weight of each sample's class, (batch,); 1 of a class that has none.

    Args:
        y: classes, (batch,) or (batch, 1), or scores, of which the highest counts.

    Raises:
        ValueError: there are several targets.
    """
    if keras.tree.is_nested(y):
        raise ValueError("class_weight is for a single target: give sample_weight instead")
    classes = np.asarray(y)
    if classes.ndim > 1:
        one = classes.shape[-1] == 1
        classes = classes.squeeze(-1) if one else classes.argmax(axis=-1)
    if classes.ndim != 1:
        raise ValueError(f"class_weight is for one class per sample: the targets are {y.shape}")
    found = [class_weight.get(int(one), 1.0) for one in np.round(classes)]
    return np.asarray(found, keras.config.floatx())
