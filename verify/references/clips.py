"""References of clips: what TensorFlow, Keras and a person write to clip gradients."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from verify.graphs import Spec
from verify.match import Pattern
from verify.references.tracing import pattern

_NORM = 0.7568024953  # no one writes it by hand: it stands for any norm
_FREE = {"norm": _NORM, "inverse": 1 / _NORM}


@functools.cache
def value_patterns(dtype: str) -> list[Pattern]:
    """Clipping by value, with any bounds: as TensorFlow, Keras and a person would write it."""
    forms: list[Callable[..., Any]] = [tf.clip_by_value, keras.ops.clip]
    for first, second in itertools.product((False, True), repeat=2):

        def upper_last(g: Any, lo: Any, hi: Any, a: bool = first, b: bool = second) -> Any:
            return _swap(tf.minimum, _swap(tf.maximum, g, lo, a), hi, b)

        def lower_last(g: Any, lo: Any, hi: Any, a: bool = first, b: bool = second) -> Any:
            return _swap(tf.maximum, _swap(tf.minimum, g, hi, a), lo, b)

        forms += [upper_last, lower_last]
    specs: list[Spec] = [((2,), dtype), ((), dtype), ((), dtype)]
    return [
        made
        for form in forms
        if (made := pattern(form, specs, ["gradient", "lower bound", "upper bound"])) is not None
    ]


@functools.cache
def norm_patterns(rank: int, dtype: str) -> list[Pattern]:
    """Clipping one gradient to any L2 norm, the constant ``norm``."""
    gradient: Spec = ((None,) * rank, dtype)
    return _patterns([lambda g: tf.clip_by_norm(g, _NORM)], [gradient], ["gradient"])


@functools.cache
def scale_patterns(rank: int, dtype: str) -> list[Pattern]:
    """Scaling a gradient as clipping to any global norm does, once that is known.

    Where a norm's inverse is written down as well it is the constant ``inverse``.
    """

    def tensorflows(g: Any, norm: Any) -> Any:
        return tf.clip_by_global_norm([g], _NORM, use_norm=norm)[0][0]

    def kerass(g: Any, norm: Any) -> Any:
        scale = _NORM * keras.ops.minimum(1.0 / norm, 1.0 / _NORM)
        return g * (scale + (norm - norm))

    roles = ["gradient", "global norm"]
    return _patterns([tensorflows, kerass], [((None,) * rank, dtype), ((), dtype)], roles)


def global_norm_patterns(gradients: tuple[Spec, ...]) -> list[Pattern]:
    """The L2 norm of several gradients together; their roles are ``gradient <i>``."""

    def tensorflows(*values: Any) -> Any:
        return tf.linalg.global_norm(list(values))

    def kerass(*values: Any) -> Any:
        squares = [keras.ops.sum(keras.ops.square(value)) for value in values]
        return keras.ops.sqrt(keras.ops.sum(keras.ops.stack(squares)))

    roles = [f"gradient {i}" for i in range(len(gradients))]
    return _patterns([tensorflows, kerass], list(gradients), roles)


def _patterns(
    forms: list[Callable[..., Any]], specs: list[Spec], roles: list[str]
) -> list[Pattern]:
    made = (pattern(form, specs, roles, free=_FREE) for form in forms)
    return [one for one in made if one is not None]


def _swap(function: Callable[[Any, Any], Any], a: Any, b: Any, swapped: bool) -> Any:
    return function(b, a) if swapped else function(a, b)
