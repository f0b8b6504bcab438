"""Gradients that are taken at other weights than those that they update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def climb(gradients: list[Any], radius: Any) -> list[Any]:
    """Offsets along gradients whose L2 norm, of all together, is `radius`, scalar."""
    norm = tf.linalg.global_norm(gradients)
    share = tf.cast(radius, tf.float64) / (tf.cast(norm, tf.float64) + 1e-12)
    return [gradient * tf.cast(share, gradient.dtype) for gradient in gradients]


def gradients_at(
    loss: Callable[[], Any], model: Any, weights: list[Any], offsets: list[Any]
) -> list[Any]:
    """The gradients of `loss` by `weights`, as if these were moved by `offsets`.

    No variable is written but the state of random numbers: moving statistics and metrics don't see
    this pass.

    Args:
        loss: computes a scalar from the model's variables.
        weights: variables of the model.
        offsets: one of the same shape for each.
    """
    moved = [
        tf.convert_to_tensor(weight) + tf.cast(offset, weight.dtype)
        for weight, offset in zip(weights, offsets, strict=True)
    ]
    values = {id(weight): value for weight, value in zip(weights, moved, strict=True)}
    state = [(v, values.get(id(v), v.value)) for v in model.trainable_variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for value in moved:
            tape.watch(value)
        with keras.StatelessScope(state, collect_losses=True) as scope:
            found = loss()
    for variable in model.non_trainable_variables:
        value = scope.get_current_value(variable)
        if value is not None and not tf.as_dtype(variable.dtype).is_floating:
            variable.assign(value)
    gradients: list[Any] = tape.gradient(
        found, moved, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return gradients
