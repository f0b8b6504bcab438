"""A function traced on a batch, however that is given: alone, in a tuple, as specs, a dataset."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def concrete_of(function: Any, args: Sequence[Any], name: str) -> Any:
    if is_iterator(args):
        return function.get_concrete_function(*args)
    if not args and not _parameters(function):
        return function.get_concrete_function()
    need_arguments(name, args)
    batch = batch_of(args)
    together = len(args) == 1 and isinstance(args[0], tuple | list)
    if together or (len(batch) > 1 and _takes_one_argument(function)):
        batch = (batch,)
    return function.get_concrete_function(*batch)


def need_arguments(name: str, args: Sequence[Any]) -> None:
    if not args:
        raise TypeError(
            f"{name} has to be traced: give a batch, e.g. (x, y), or its TensorSpecs; without one "
            "is told what a function of Keras has run, if that was one graph"
        )


def is_iterator(args: Sequence[Any]) -> bool:
    return len(args) == 1 and isinstance(
        args[0], tf.data.Iterator | tf.distribute.DistributedIterator
    )


def batch_of(args: Sequence[Any]) -> tuple[Any, ...]:
    """(x, y, ...) with TensorFlow's tensors or specs as leaves, however it was passed."""
    if len(args) == 1 and isinstance(args[0], tf.data.Dataset):
        args = (args[0].element_spec,)
    if len(args) == 1 and isinstance(args[0], tuple | list):
        args = args[0]
    # What Python passes by itself stays a constant of the trace, as where the step is called.
    return tuple(
        arg
        if isinstance(arg, bool | int | float | str)
        else tf.nest.map_structure(_as_traceable, arg)
        for arg in args
    )


def _as_traceable(value: Any) -> Any:
    if value is None or isinstance(value, tf.TypeSpec) or tf.is_tensor(value):
        return value
    return tf.convert_to_tensor(value)


def _parameters(function: Any) -> list[inspect.Parameter] | None:
    """The parameters that a function takes by position, None where Python can't tell."""
    try:
        parameters = inspect.signature(getattr(function, "python_function", function)).parameters
    except (TypeError, ValueError):
        return None
    return [
        p
        for p in parameters.values()
        if p.name != "self" and p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)
    ]


def _takes_one_argument(function: Any) -> bool:
    parameters = _parameters(function)
    return (
        parameters is not None
        and len(parameters) == 1
        and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    )
