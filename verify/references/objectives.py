"""The gradients of a function of a step's arguments, by tracing it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from verify.graphs import (
    Arguments,
    FlatGraph,
    Tensor,
    draws,
    flatten,
    has_tensors,
    key_of,
    path_of,
)
from verify.references.users_code import Untraced, traced


@dataclasses.dataclass(frozen=True)
class ObjectiveGradients:
    """The gradients of a function by each trainable variable that it depends on.

    `flat` takes the step's arguments, in their order. `gradients`, `paths`: by key of the variable.
    `draws`: whether it draws random numbers.
    `owner` keeps the variables alive.
    """

    name: str
    flat: FlatGraph
    gradients: Mapping[int | str, Tensor]
    paths: Mapping[int | str, str]
    draws: bool
    owner: Any = dataclasses.field(repr=False)


def objective_gradients(function: Callable[..., Any], arguments: Arguments) -> ObjectiveGradients:
    """Traces `function` on the arguments of a step, and its gradients.

    Args:
        function: makes one number, of any real dtype, of the step's arguments: of all of them, or,
            where that is one tuple, of its parts. Python's own statements over tensors need a
            ``tf.function`` of its own.

    Raises:
        Untraced: it does not take these arguments, fails on them, or makes something else.
    """
    name = objective_name(function)
    positional = taken(function, arguments)
    variables: list[Any] = []

    def gradients(*given: Any, **by_name: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            value = function(*given, **by_name)
        if not tf.is_tensor(value) or value.shape.rank != 0 or not value.dtype.is_floating:
            told = f"{value.dtype.name} of shape {value.shape}" if tf.is_tensor(value) else value
            raise TypeError(f"{name} makes {told}: one real number is differentiated")
        every = tape.watched_variables()
        found = tape.gradient(value, every)
        pairs = [(v, g) for v, g in zip(every, found, strict=True) if g is not None]
        variables[:] = [variable for variable, _ in pairs]
        # Of rows that are looked up, a gradient holds just these.
        return [tf.convert_to_tensor(gradient) for _, gradient in pairs]

    concrete = traced(gradients, *positional, **arguments.by_name)
    flat = flatten(concrete)
    keys = [key_of(variable) for variable in variables]
    paths: dict[int | str, str] = {key_of(variable): path_of(variable) for variable in variables}
    return ObjectiveGradients(
        name,
        flat,
        dict(zip(keys, flat.outputs, strict=True)),
        paths,
        any(draws(node.op) for node in flat.nodes),
        (concrete, variables),
    )


def objective_name(function: Any) -> str:
    """What a function is called, in messages."""
    name = getattr(function, "__name__", None) or getattr(function, "name", None)
    return str(name or type(function).__name__)


def taken(function: Callable[..., Any], arguments: Arguments) -> tuple[Any, ...]:
    """The positional arguments that a function takes: those of the step, or a batch's parts."""
    forms = [arguments.positional]
    if len(arguments.positional) == 1 and isinstance(arguments.positional[0], tuple | list):
        forms.append((*arguments.positional[0],))
    forms.append((*filter(has_tensors, arguments.positional),))  # no models, no optimizers
    try:
        signature = inspect.signature(function)
    except ValueError:  # some callables of C have none
        return forms[0]
    for form in forms:
        try:
            signature.bind(*form, **arguments.by_name)
        except TypeError:
            continue
        return form
    own = " or ".join(dict.fromkeys(str(len(form)) for form in forms))
    by_name = "".join(f", {name}" for name in arguments.by_name)
    raise Untraced(
        f"it is called with the step's arguments, {own} by position{by_name}, "
        f"and its signature is {signature}"
    )
