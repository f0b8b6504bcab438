"""Objects that a traced function has at hand: losses and optimizers that it may use.

They tell a loss, or an optimizer, with its settings where a step was written by hand. That one is
at hand says nothing yet: it has to be found in the graph like any other.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

_DEPTH = 4  # of functions within functions

_Of = Callable[[Any], Iterator[Any]]
"""What is looked for of one value: the value itself, what it holds, or nothing."""


def losses_at_hand(target: Any, model: Any) -> tuple[Any, ...]:
    """The Loss objects that a function closes over, finds in its globals, or has in its model."""
    return _at_hand(target, model, _losses_of)


def optimizers_at_hand(target: Any, model: Any) -> tuple[Any, ...]:
    """The same of Keras' optimizers that have been built: no other has updated a variable."""
    own = () if model is None else tuple(_optimizers_of(model))
    found = [*own, *_at_hand(target, model, _optimizers_of)]
    return tuple({id(one): one for one in found if one.built}.values())


def callables_at_hand(target: Any, model: Any) -> frozenset[str]:
    """The names of the layers and models that a function may call, those of its model included."""
    own = () if model is None else (model,)
    found = [*own, *_at_hand(target, model, _layers_of)]
    return frozenset(one.name for one in found if hasattr(one, "name"))


def _at_hand(target: Any, model: Any, of: _Of) -> tuple[Any, ...]:
    found = {id(one): one for one in _in_function(target, _DEPTH, of)}
    own = vars(model) if model is not None else {}
    found |= {id(one): one for one in _in_values(own, of)}
    return tuple(found.values())


def _in_function(function: Any, depth: int, of: _Of) -> Iterator[Any]:
    plain = _plain(function)
    while isinstance(plain, functools.partial):
        yield from _in_values(plain.keywords | dict(enumerate(plain.args)), of)
        plain = _plain(plain.func)
    if not isinstance(plain, types.FunctionType | types.MethodType | type) and callable(plain):
        plain = getattr(plain, "__call__", plain)  # noqa: B004 - an object's own
    if isinstance(plain, types.MethodType):
        # A method that is a tf.function is bound to a stand-in, whose `target` is the object;
        # tests/verify/graphs/test_at_hand.py notices if that moves.
        owner = getattr(plain.__self__, "target", plain.__self__)
        yield from _in_values(getattr(owner, "__dict__", {}), of)
        plain = plain.__func__
    if not isinstance(plain, types.FunctionType) or not depth:
        return
    nonlocals, of_module = inspect.getclosurevars(plain).nonlocals, _globals_of(plain)
    yield from _in_values({**of_module, **nonlocals}, of)
    for value in nonlocals.values():
        yield from _in_function(value, depth - 1, of)
    for value in of_module.values():
        if getattr(value, "__globals__", None) is plain.__globals__:
            yield from _in_function(value, depth - 1, of)
        elif isinstance(value, types.FunctionType):
            yield from _in_values(inspect.getclosurevars(value).nonlocals, of)


def _globals_of(function: types.FunctionType) -> dict[str, Any]:
    """The globals that a function names, or a function or lambda that is defined in it."""
    codes, names = [function.__code__], set[str]()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    every = function.__globals__
    return {name: every[name] for name in sorted(names) if name in every}


def _plain(function: Any) -> Any:
    """What is behind a ``tf.function`` and decorators."""
    plain = getattr(function, "python_function", function)
    return inspect.unwrap(plain) if callable(plain) else plain


def _in_values(values: Mapping[Any, Any], of: _Of, deeper: bool = True) -> Iterator[Any]:
    """What is looked for among values: alone, in plain containers, in other objects."""
    for value in values.values():
        found = list(of(value))
        yield from found
        if found or isinstance(value, keras.Model):
            continue
        if isinstance(value, Mapping | list | tuple):
            for one in value.values() if isinstance(value, Mapping) else value:
                if not isinstance(one, keras.Model):
                    yield from of(one)
        elif deeper and not isinstance(value, type | types.ModuleType):
            yield from _in_values(getattr(value, "__dict__", {}), of, deeper=False)


# -- losses ----------------------------------------------------------------------------------------


def _losses_of(value: Any) -> Iterator[Any]:
    if _is_loss(value):
        yield from _named(value)
    elif isinstance(value, keras.Model):
        for loss in tf.nest.flatten(value.loss if value.compiled else None):
            if _is_loss(loss) or isinstance(loss, types.FunctionType):
                yield from _named(loss)


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


# -- layers and models -----------------------------------------------------------------------------


def _layers_of(value: Any) -> Iterator[Any]:
    if isinstance(value, keras.Layer):
        yield value


# -- optimizers ------------------------------------------------------------------------------------


def _optimizers_of(value: Any) -> Iterator[Any]:
    """An optimizer, those that it hands its gradients to, or the one of a compiled model."""
    if isinstance(value, keras.Model):
        value = value.optimizer if value.compiled else None
    if isinstance(value, keras.optimizers.Optimizer):
        yield from _parts(value)


def _parts(optimizer: Any) -> Iterator[Any]:
    """The optimizers that update variables: one that scales losses, or has others, does not."""
    inner = getattr(optimizer, "inner_optimizer", None)
    parts = getattr(optimizer, "optimizers", None) if inner is None else [inner]
    if parts is None:
        yield optimizer
    for part in parts or ():
        yield from _parts(part)
