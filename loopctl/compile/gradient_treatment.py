"""Treatment of gradients between tape and optimizer, as called from generated source.

In this order: the config's own transform, its clipping. Both see whole gradients: summed over the
replicas, free of loss scaling, dense.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from loopctl.config import ConfigError

Transform = Callable[[list[Any], list[Any]], list[Any]]


def checked(transform: Transform, where: str) -> Transform:
    """`transform`, whose results must be gradients of the same variables (thesis 7.1)."""

    def apply(gradients: list[Any], variables: list[Any]) -> list[Any]:
        found = transform(list(gradients), list(variables))
        if not isinstance(found, Sequence) or len(found) != len(gradients):
            count = len(found) if isinstance(found, Sequence) else repr(found)
            raise ConfigError(
                f"{where} returned {count} gradients for {len(gradients)} variables: a list of "
                "one gradient per variable is needed"
            )
        return [
            _same(new, old, variable, where)
            for new, old, variable in zip(found, gradients, variables, strict=True)
        ]

    return apply


def _same(new: Any, old: Any, variable: Any, where: str) -> Any:
    if new is None:
        raise ConfigError(
            f"{where} returned None for {variable.path}: a gradient is needed (zeros, if it is not "
            "to be trained)"
        )
    new = tf.convert_to_tensor(new)
    if new.dtype != old.dtype or not new.shape.is_compatible_with(old.shape):
        raise ConfigError(
            f"{where} returned {_spec(new)} for {variable.path}, whose gradient is {_spec(old)}: "
            "shape and dtype must stay"
        )
    return new


def _spec(tensor: Any) -> str:
    return f"{tensor.dtype.name}{tuple(tensor.shape)}"


def clip_as(optimizer: Any) -> Callable[[list[Any]], list[Any]]:
    """The clipping that `optimizer` was constructed with, for whole gradients.

    Within a replica Keras' optimizers clip that replica's part of a gradient, which is another
    thing than clipping the gradient.
    """

    def apply(gradients: list[Any]) -> list[Any]:
        if optimizer.clipvalue:
            bound = optimizer.clipvalue
            return [tf.clip_by_value(gradient, -bound, bound) for gradient in gradients]
        if optimizer.clipnorm:
            return [tf.clip_by_norm(gradient, optimizer.clipnorm) for gradient in gradients]
        if optimizer.global_clipnorm:
            return list(tf.clip_by_global_norm(gradients, optimizer.global_clipnorm)[0])
        return gradients

    return apply


def keep_overflow(treated: Any, scaled: Any) -> Any:
    """`treated`, or NaN where `scaled` is not finite: no treatment may hide that from an optimizer.

    Clipping an infinity by value gives a bound, and the step would not be skipped.
    """
    finite = tf.reduce_all(tf.math.is_finite(scaled))
    nan = tf.constant(float("nan"), treated.dtype)
    return treated + tf.where(finite, tf.zeros_like(nan), nan)
