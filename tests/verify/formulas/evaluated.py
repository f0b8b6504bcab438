"""Formulas of `verify.facts` as Python: what they say can be computed, and held against a step."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf


def evaluated(formula: str, named: Mapping[str, Any]) -> Any:
    """The value of a formula; `named`: what its names are. NameError where it is not whole."""
    body, _, explained = formula.partition(" where ")
    known = {**_FUNCTIONS, **named}
    # What is explained first is made of what is explained later.
    for line in reversed(re.split(r", (?=[a-z]\d* = )", explained) if explained else []):
        name, _, of = line.partition(" = ")
        known[name] = _python(of, known)
    return _python(body, known)


def _python(text: str, known: Mapping[str, Any]) -> Any:
    if "..." in text:
        raise NameError(f"{text} leaves something out")
    return eval(text.replace("^", "**"), {"__builtins__": {}}, dict(known))  # our own formula


def _reduced(function: Callable[..., Any], two: Callable[..., Any] | None = None) -> Any:
    def reduced(tensor: Any, other: Any = None, axis: Any = None) -> Any:
        if other is not None and two is not None:
            return two(tensor, other)
        return function(tensor, axis=axis, keepdims=axis is not None)

    return reduced


def _float(tensor: Any) -> Any:
    return tf.cast(tensor, tf.float32)


def _loss(kind: Callable[..., Any]) -> Callable[..., Any]:
    """A loss by name: of a target and a prediction, or with settings and then of these."""

    def called(*ends: Any, **settings: Any) -> Any:
        loss = kind(**settings)

        def of(target: Any, prediction: Any) -> Any:
            return loss(tf.broadcast_to(_float(target), prediction.shape), prediction)

        return of(*ends) if ends else of

    return called


_FUNCTIONS: dict[str, Any] = {
    **{name: _loss(kind) for name, kind in vars(keras.losses).items() if isinstance(kind, type)},
    "abs": tf.abs,
    "cosh": tf.cosh,
    "exp": tf.exp,
    "is_finite": tf.math.is_finite,
    "l2_normalize": tf.math.l2_normalize,
    "log": tf.math.log,
    "log_softmax": tf.nn.log_softmax,
    "max": _reduced(tf.reduce_max, tf.maximum),
    "mean": _reduced(tf.reduce_mean),
    "min": _reduced(tf.reduce_min, tf.minimum),
    "norm": _reduced(tf.norm),
    "relu": tf.nn.relu,
    "sigmoid": tf.sigmoid,
    "softmax": tf.nn.softmax,
    "softplus": tf.nn.softplus,
    "sqrt": lambda tensor: tf.sqrt(_float(tensor)),
    "stack": lambda *tensors: tf.stack(tensors),
    "stop_gradient": tf.stop_gradient,
    "sum": _reduced(tf.reduce_sum),
    "tanh": tf.tanh,
    "where": tf.where,
}
