"""Treatment of gradients between tape and optimizer, as called from generated source.

In this order: the config's own transform, its clipping. Both see whole gradients: summed over the
replicas, free of loss scaling, dense.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from loopctl.config import ConfigError
from loopctl_shared import inner_optimizer

Transform = Callable[[list[Any], list[Any]], list[Any]]


def checked(transform: Transform, where: str, kind: str = "gradient") -> Transform:
    """`transform`, whose results must be gradients of the same variables (thesis 7.1), or of
    another `kind` but alike."""

    def apply(gradients: list[Any], variables: list[Any]) -> list[Any]:
        found = transform(list(gradients), list(variables))
        if not isinstance(found, Sequence) or len(found) != len(gradients):
            count = len(found) if isinstance(found, Sequence) else repr(found)
            raise ConfigError(
                f"{where} returned {count} {kind}s for {len(gradients)} variables: a list of one "
                f"{kind} per variable is needed"
            )
        return [
            _same(new, old, variable, where, kind)
            for new, old, variable in zip(found, gradients, variables, strict=True)
        ]

    return apply


def _same(new: Any, old: Any, variable: Any, where: str, kind: str) -> Any:
    if new is None:
        raise ConfigError(
            f"{where} returned None for {variable.path}: a {kind} is needed (zeros if it is not "
            f"to be {'trained' if kind == 'gradient' else 'moved'})"
        )
    new = tf.convert_to_tensor(new)
    if new.dtype != old.dtype or not new.shape.is_compatible_with(old.shape):
        raise ConfigError(
            f"{where} returned {_spec(new)} for {variable.path}, whose gradient is {_spec(old)}: "
            "the shape and dtype must stay the same"
        )
    return new


def _spec(tensor: Any) -> str:
    return f"{tensor.dtype.name}{tuple(tensor.shape)}"


def clip_as(optimizers: list[Any]) -> Callable[[list[Any], list[Any]], list[Any]]:
    """The clipping that optimizers were constructed with, for whole gradients.

    Within a replica Keras' optimizers clip that replica's part of a gradient, which is another
    thing than clipping the gradient.

    Args:
        optimizers: one, or several that are built, each for variables of its own.
    """

    def apply(gradients: list[Any], variables: list[Any]) -> list[Any]:
        if len(optimizers) == 1:
            return _clipped_as(optimizers[0], gradients)
        clipped = list(gradients)
        for optimizer in optimizers:
            known = {id(variable) for variable in known_to(optimizer)}
            places = [i for i, variable in enumerate(variables) if id(variable) in known]
            own = _clipped_as(optimizer, [gradients[i] for i in places])
            for i, gradient in zip(places, own, strict=True):
                clipped[i] = gradient
        return clipped

    return apply


def _clipped_as(optimizer: Any, gradients: list[Any]) -> list[Any]:
    if optimizer.clipvalue:
        bound = optimizer.clipvalue
        return [tf.clip_by_value(gradient, -bound, bound) for gradient in gradients]
    if optimizer.clipnorm:
        return [tf.clip_by_norm(gradient, optimizer.clipnorm) for gradient in gradients]
    if optimizer.global_clipnorm and gradients:
        return list(tf.clip_by_global_norm(gradients, optimizer.global_clipnorm)[0])
    return gradients


def known_to(optimizer: Any) -> list[Any]:
    """What an optimizer was built for, nothing if it was not.

    Private: there is no public way to ask. tests/loopctl/compile/test_optimizers.py notices when it
    moves.
    """
    variables: list[Any] = (
        inner_optimizer(optimizer)._trainable_variables if optimizer.built else []
    )
    return variables


def unscaled(gradient: Any, scale: Any) -> Any:
    """A gradient without a loss scale, in its own precision: many scales are too large for that."""
    return tf.cast(tf.cast(gradient, scale.dtype) / scale, gradient.dtype)


def keep_overflow(treated: Any, scaled: Any) -> Any:
    """`treated`, or NaN where `scaled` is not finite: no treatment may hide that from an optimizer.

    Clipping an infinity by value gives a bound, and the step would not be skipped.
    """
    finite = tf.reduce_all(tf.math.is_finite(scaled))
    nan = tf.constant(float("nan"), treated.dtype)
    return treated + tf.where(finite, tf.zeros_like(nan), nan)
