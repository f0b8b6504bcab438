"""Any target -> something traced: a concrete function, a function's graph or a graph definition."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from loopctl_shared import CONTROLLER
from verify.graphs.batches import (
    batch_of,
    concrete_of,
    handed,
    is_iterator,
    need_arguments,
    positional,
)
from verify.graphs.graph_files import checked, from_path, of_graph
from verify.graphs.traced import Traced

_KERAS_FUNCTIONS = ("train_function", "test_function", "predict_function")
_KERAS_STEPS = ("train_step", "test_step", "predict_step")


def traced(
    target: Any, args: Sequence[Any], model: Any = None, signature: str | None = None
) -> Traced:
    """Traces `target`, see `verify.capture.capture`."""
    if isinstance(target, str | Path):
        return from_path(Path(target), args, signature)
    if signature is not None:
        raise TypeError("signature= is for SavedModels, given by their path")
    if isinstance(target, tf.compat.v1.GraphDef):
        own = tf.compat.v1.GraphDef()  # the caller's stays as it is
        own.CopyFrom(target)
        return Traced("graph_def", definition=checked(own, "GraphDef"))
    if isinstance(target, tf.Graph):
        return of_graph(target)
    if is_model(target):
        controller = getattr(target, CONTROLLER, None)
        if controller is not None:
            return _of_controlled(target, controller.main_step, args)
        return _of_model_step(target, target.train_step, args)
    if (owner := model_of(target)) is not None:
        is_step = getattr(target, "__name__", None) in _KERAS_STEPS
        return (_of_model_step if is_step else _of_keras_function)(owner, target, args)
    model = model or _bound_to(target)
    if hasattr(target, "get_concrete_function"):
        name = str(getattr(target, "__name__", None) or getattr(target, "name", "step"))
        return _of_function(name, target, target, args, model)
    if hasattr(target, "captured_inputs") and hasattr(target, "graph"):
        return Traced(_written_name(target.name), target, model=model, owner=target)
    if callable(target):
        name = str(getattr(target, "__name__", type(target).__name__))
        return _of_function(name, tf.function(target), target, args, model)
    raise TypeError(
        f"can't verify {target!r}: expected a tf.function or another callable, a ConcreteFunction, "
        "a compiled Keras model or one of its functions, a FuncGraph, a GraphDef, or the path of a "
        "SavedModel or of a GraphDef file"
    )


def _of_function(name: str, function: Any, owner: Any, args: Sequence[Any], model: Any) -> Traced:
    given = positional(function, args, name)
    concrete = function.get_concrete_function(*given)
    return Traced(name, concrete, model=model, owner=owner, handed=handed(function, given))


def _written_name(traced: str | bytes) -> str:
    """A concrete function's name without what tracing adds: ``__inference_step_12`` is "step"."""
    name = traced.decode() if isinstance(traced, bytes) else traced
    return re.sub(r"^__(?:inference|forward|backward)_(.+)_\d+$", r"\1", name)


# -- Keras -----------------------------------------------------------------------------------------


def is_model(value: Any) -> bool:
    """Whether this is a model of Keras 3, or of Keras 2 (``tf_keras``), which we do not import."""
    return isinstance(value, keras.Model) or (
        isinstance(value, tf.Module)
        and all(hasattr(value, name) for name in (*_KERAS_STEPS, "compiled_metrics"))
    )


def model_of(target: Any) -> Any:
    """The model that this is, or that this is a step or a function of; None for any other."""
    if is_model(target):
        return target
    if getattr(target, "__name__", None) in _KERAS_STEPS:
        owner = getattr(target, "__self__", None)
        return owner if is_model(owner) else None
    return _owner(target)


def _bound_to(target: Any) -> Any:
    """The model that a compiled function is a method of, as loopctl's substeps are."""
    owner = getattr(getattr(target, "python_function", target), "__self__", None)
    return owner if is_model(owner) else None


def _of_model_step(model: Any, step: Any, args: Sequence[Any]) -> Traced:
    """``train_step``, ``test_step`` or ``predict_step``, on each replica of a strategy."""
    name = f"{model.name}.{step.__name__}"
    if step.__name__ != "predict_step" and not _is_compiled(model):
        raise TypeError(f"{model.name!r} is not compiled: there is no {step.__name__} to verify")
    function = step
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync > 1:
        # As Keras does it: variables made while tracing can be mirrored in a nested function only.
        @tf.function(autograph=False)
        def function(data: Any) -> Any:
            return strategy.run(step, args=(data,))

    def whole(data: Any) -> Any:
        return function(data)

    concrete = concrete_of(tf.function(whole, autograph=False), args, name)
    return Traced(name, concrete, model=model, owner=model)


def _of_controlled(model: Any, main_step: Any, args: Sequence[Any]) -> Traced:
    """What ``fit`` runs under control, instead of the model's own ``train_step``."""
    name = f"{model.name}.main_step"
    return Traced(name, concrete_of(main_step, args, name), model=model, owner=main_step)


def _is_compiled(model: Any) -> bool:
    if isinstance(model, keras.Model):
        return bool(model.compiled)
    return getattr(model, "optimizer", None) is not None


def _owner(target: Any) -> Any:
    """The model whose train, test or predict function this is: such a function closes over it."""
    for value in _closure(target):
        if is_model(value):
            for name in _KERAS_FUNCTIONS:
                if getattr(value, name, None) is target:
                    return value
    return None


def _of_keras_function(model: Any, target: Any, args: Sequence[Any]) -> Traced:
    """``train_function`` and its like take an iterator, of as many batches as they want."""
    kind = next(name for name in _KERAS_FUNCTIONS if getattr(model, name, None) is target)
    name = f"{model.name}.{kind}"
    function = target if hasattr(target, "get_concrete_function") else _outermost(target)
    if function is None:
        raise TypeError(f"{name} runs eagerly (run_eagerly=True): it has no graph to verify")
    if kind == "predict_function" and isinstance(model, keras.Model):
        need_arguments(name, args)
        data = [batch_of(args)] * int(model.steps_per_execution)
        return Traced(name, function.get_concrete_function(data), model=model, owner=target)
    if not args and (ran := _only_trace(function)) is not None:
        return Traced(name, ran, model=model, owner=target)
    if not is_iterator(args):
        need_arguments(name, args)
        whole = args[0].element_spec if isinstance(args[0], tf.data.Dataset) else args[0]
        # What is no tuple reaches a `train_step` as it is: a dict of features, say.
        batch = whole if len(args) == 1 and isinstance(whole, dict) else batch_of(args)
        args = (idle_iterator(batch, model.distribute_strategy),)
    return Traced(name, function.get_concrete_function(*args), model=model, owner=target)


def _only_trace(function: Any) -> Any:
    """The one graph that a ``tf.function`` has run; None where there is none, or several.

    Private: there is no public way to ask for it. tests/verify/graphs/test_targets.py notices if it
    moves.
    """
    traces = function._list_all_concrete_functions_for_serialization()
    return traces[0] if len(traces) == 1 else None


def ran_by_fit(model: Any) -> Any:
    """The one graph that ``fit`` has run and will run again; None if it is not known."""
    function = getattr(model, "train_function", None)
    outermost = None if function is None else _outermost(function)
    return None if outermost is None else _only_trace(outermost)


def _outermost(function: Any) -> Any:
    """The ``tf.function`` that a plain function runs: the one that no other of its own runs."""
    compiled = [value for value in _closure(function) if hasattr(value, "get_concrete_function")]
    inner = {id(value) for one in compiled for value in _closure(one) if value is not one}
    return next((one for one in compiled if id(one) not in inner), None)


def one_step_of(function: Any) -> Any:
    """The ``tf.function`` of one batch that a train function runs; None if it runs eagerly.

    It is the one that runs no other.
    """
    compiled = [value for value in _closure(function) if hasattr(value, "get_concrete_function")]
    inner = [
        one
        for one in compiled
        if not any(hasattr(v, "get_concrete_function") for v in _closure(one))
    ]
    return next(iter(inner), None)


def _closure(function: Any) -> list[Any]:
    """What a function closes over, and what the functions that it closes over do."""
    found: list[Any] = []
    functions, seen = [function], set[int]()
    while functions:
        plain = functions.pop()
        plain = getattr(plain, "python_function", plain)
        functions += [wrapped for wrapped in [getattr(plain, "__wrapped__", None)] if wrapped]
        if isinstance(plain, types.FunctionType) and id(plain) not in seen:
            seen.add(id(plain))
            values = list(inspect.getclosurevars(plain).nonlocals.values())
            found += values
            functions += [value for value in values if callable(value) and not is_model(value)]
    return found


def idle_iterator(batch: Any, strategy: Any) -> Iterator[Any]:
    """An iterator, never advanced, of batches of these specs: each replica's, if there are many."""
    specs = tf.nest.map_structure(_spec, batch)

    def batches(_: Any = None) -> tf.data.Dataset:
        return tf.data.Dataset.from_generator(lambda: iter(()), output_signature=specs)

    if strategy.num_replicas_in_sync == 1:
        return iter(batches())
    return iter(strategy.distribute_datasets_from_function(batches))


def _spec(value: Any) -> Any:
    return value if isinstance(value, tf.TypeSpec) else tf.type_spec_from_value(value)
