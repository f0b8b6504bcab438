"""A function traced on a batch, however that is given: alone, in a tuple, as specs, a dataset."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


def concrete_of(function: Any, args: Sequence[Any], name: str) -> Any:
    """A function traced on a batch."""
    return function.get_concrete_function(*positional(function, args, name))


def positional(function: Any, args: Sequence[Any], name: str) -> tuple[Any, ...]:
    """What a function is called with, of a batch however it was passed."""
    if is_iterator(args) or (not args and _needs_none(function)):
        return tuple(args)
    need_arguments(name, args)
    batch = batch_of(args)
    together = len(args) == 1 and isinstance(args[0], tuple | list)
    if together or (len(batch) > 1 and _takes_one_argument(function)):
        return (batch,)
    return batch


def handed(function: Any, given: Sequence[Any]) -> tuple[Any, ...]:
    """All that a function gets when it is called so, defaults included; what is in lists alone."""
    try:
        signature = inspect.signature(getattr(function, "python_function", function))
        bound = signature.bind(*given)
    except (TypeError, ValueError):  # Python can't tell what it takes
        return tuple(tf.nest.flatten(given))
    bound.apply_defaults()
    return tuple(tf.nest.flatten((bound.args, bound.kwargs)))


def need_arguments(name: str, args: Sequence[Any]) -> None:
    if not args:
        raise TypeError(
            f"{name} has to be traced: give a batch, e.g. (x, y), or its TensorSpecs. Without one, "
            "only a function of Keras that has already run a single graph can be verified"
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
    """A tensor or a spec; models, optimizers and other objects stay what they are."""
    if value is None or isinstance(value, tf.TypeSpec) or tf.is_tensor(value):
        return value
    if isinstance(value, keras.Variable) or not (
        isinstance(value, bool | int | float | complex | str | bytes | list | tuple)
        or hasattr(value, "__array__")
    ):
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


def _needs_none(function: Any) -> bool:
    """Whether a function takes no arguments, or says itself on which specs it is traced."""
    return getattr(function, "input_signature", None) is not None or not _parameters(function)


def _takes_one_argument(function: Any) -> bool:
    parameters = _parameters(function)
    return (
        parameters is not None
        and len(parameters) == 1
        and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    )
