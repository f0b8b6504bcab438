"""Loss objects that a traced function has at hand: candidates for what it differentiates.

They name a loss with its settings where a step was written by hand. That a loss is at hand says
nothing yet: it has to be found in the graph like any other.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

_DEPTH = 4  # of functions within functions


def losses_at_hand(target: Any, model: Any) -> tuple[Any, ...]:
    """The Loss objects that a function closes over, finds in its globals, or has in its model."""
    found = {id(loss): loss for loss in _in_function(target, _DEPTH)}
    found |= {id(loss): loss for loss in _in_values(vars(model) if model is not None else {})}
    return tuple(found.values())


def _in_function(function: Any, depth: int) -> Iterator[Any]:
    plain = getattr(function, "python_function", function)
    plain = inspect.unwrap(plain) if callable(plain) else plain
    if isinstance(plain, functools.partial):
        yield from _in_values(plain.keywords | dict(enumerate(plain.args)))
        plain = plain.func
    if isinstance(plain, types.MethodType):
        # A method that is a tf.function is bound to a stand-in, whose `target` is the object;
        # tests/verify/graphs/test_losses_at_hand.py notices if that moves.
        owner = getattr(plain.__self__, "target", plain.__self__)
        yield from _in_values(getattr(owner, "__dict__", {}))
        plain = plain.__func__
    if not isinstance(plain, types.FunctionType) or not depth:
        return
    names = inspect.getclosurevars(plain)
    yield from _in_values({**names.globals, **names.nonlocals})
    for value in names.nonlocals.values():
        yield from _in_function(value, depth - 1)
    for value in names.globals.values():
        if getattr(value, "__globals__", None) is plain.__globals__:
            yield from _in_function(value, depth - 1)
        elif isinstance(value, types.FunctionType):
            yield from _in_values(inspect.getclosurevars(value).nonlocals)


def _in_values(values: Mapping[Any, Any], deeper: bool = True) -> Iterator[Any]:
    """Losses among values: alone, in plain containers, of compiled models, in other objects."""
    for value in values.values():
        if _is_loss(value):
            yield from _named(value)
        elif isinstance(value, Mapping | list | tuple):
            several = value.values() if isinstance(value, Mapping) else value
            for loss in filter(_is_loss, several):
                yield from _named(loss)
        elif isinstance(value, keras.Model):
            for loss in tf.nest.flatten(value.loss if value.compiled else None):
                if _is_loss(loss) or isinstance(loss, types.FunctionType):
                    yield from _named(loss)
        elif deeper and not isinstance(value, type | types.ModuleType):
            yield from _in_values(getattr(value, "__dict__", {}), deeper=False)


def _named(loss: Any) -> Iterator[Any]:
    """A loss by what names it: one that is made of a function, by that function.

    Of Keras' functions there are Loss objects, which are known anyway.
    """
    made_of = getattr(loss, "function", loss)
    if not isinstance(made_of, types.FunctionType):
        yield loss
    elif made_of.__module__.partition(".")[0] not in ("keras", "tf_keras"):
        yield made_of


def _is_loss(value: Any) -> bool:
    """Whether this is a Loss, of Keras 3 or 2, that can say its settings: others have no name."""
    if isinstance(value, type) or not (callable(value) and hasattr(value, "call")):
        return False
    if not (hasattr(value, "reduction") and hasattr(value, "get_config")):
        return False
    try:
        value.get_config()
    except NotImplementedError:  # Keras' own of all outputs of a model, say
        return False
    return True
