"""What a model, or a function of a step's arguments, computes, by tracing it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from verify.graphs import Arguments, FlatGraph, Tensor, draws, flatten, is_model
from verify.references.objectives import objective_name, taken
from verify.references.users_code import Untraced, traced


@dataclasses.dataclass(frozen=True)
class Forward:
    """What is computed of a step's arguments.

    `flat` takes these, in their order; `roots`: its real outputs, with `labels`. `draws`: whether
    it draws random numbers. `owner` keeps the variables alive.
    """

    name: str
    flat: FlatGraph
    roots: tuple[Tensor, ...]
    labels: tuple[str, ...]
    draws: bool
    owner: Any = dataclasses.field(repr=False)


def forward_of(function: Any, arguments: Arguments, training: bool = True) -> Forward:
    """Traces a model, or a function, on the arguments of a step.

    Args:
        function: a model, called on the first of the arguments, or of the parts of
            a batch that is the only one; or a function of all of them (or of these parts), which
            makes a real tensor or a structure of such.
        training: the mode in which a model is called.

    Raises:
        Untraced: it does not take these arguments, fails on them, or makes something else.
    """
    name = objective_name(function)
    labels: list[str] = []

    def made(*given: Any, **by_name: Any) -> list[Any]:
        found = (
            _called(function, given, training)
            if is_model(function)
            else function(*given, **by_name)
        )
        leaves = tf.nest.flatten(found)
        if not leaves or not all(tf.is_tensor(one) and one.dtype.is_floating for one in leaves):
            raise TypeError(f"{name} makes {found}: a real tensor, or several, are compared")
        labels[:] = _labels(found, len(leaves))
        return [tf.identity(leaf) for leaf in leaves]

    positional = arguments.positional if is_model(function) else taken(function, arguments)
    concrete = traced(made, *positional, **arguments.by_name)
    flat = flatten(concrete)
    random = any(draws(node.op) for node in flat.nodes)
    return Forward(name, flat, (*flat.outputs,), (*labels,), random, (concrete, function))


def _called(model: Callable[..., Any], given: tuple[Any, ...], training: bool) -> Any:
    if not given:
        raise Untraced("the step is handed nothing by position that could be x")
    parts = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
    return model(parts[0], training=training)


def _labels(found: Any, count: int) -> list[str]:
    """What each of several outputs is called."""
    if count == 1:
        return [""]
    if isinstance(found, dict) and len(found) == count:
        return sorted(map(str, found))  # as `tf.nest` goes through them
    return [str(place) for place in range(count)]
