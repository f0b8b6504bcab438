"""Losses of substeps in one calling convention: ``(y_true, y_pred, sample_weight) -> scalar``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras


class FunctionLoss(keras.losses.Loss):
    """A function ``(y_true, y_pred) -> loss values`` as a Keras loss of default reduction."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__(name=getattr(function, "__name__", type(function).__name__))
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss values per sample; a target (batch,) meets a prediction (batch, 1) as in Keras."""
        if len(y_true.shape) == 1 and len(y_pred.shape) == 2 and y_pred.shape[-1] == 1:
            y_true = keras.ops.expand_dims(y_true, -1)
        elif len(y_pred.shape) == 1 and len(y_true.shape) == 2 and y_true.shape[-1] == 1:
            y_pred = keras.ops.expand_dims(y_pred, -1)
        return self.function(y_true, y_pred)


class OutputLosses:
    """One loss per output of a model, by name or position, summed; None does not count."""

    def __init__(self, losses: Mapping[Any, Any]) -> None:
        self.losses = losses

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        values = []
        for key, loss in self.losses.items():
            if loss is not None:
                nested = isinstance(sample_weight, dict | list | tuple)
                weight = sample_weight[key] if nested else sample_weight
                values.append(loss(y_true[key], y_pred[key], weight))
        return sum(values[1:], values[0])


def same_loss(a: Any, b: Any) -> bool:
    """Whether two losses of a config are known to compute the same.

    Two objects may: but what Keras' losses tell of themselves (``get_config``) lacks parameters
    such as Huber's delta, so that only one and the same object is known to.
    """
    if isinstance(a, FunctionLoss) and isinstance(b, FunctionLoss):
        return a.function is b.function
    if isinstance(a, OutputLosses) and isinstance(b, OutputLosses):
        return a.losses.keys() == b.losses.keys() and all(
            same_loss(a.losses[key], b.losses[key]) for key in a.losses
        )
    return a is b
