"""What single keys of a branch promise: objective, inference, averages."""

from __future__ import annotations

import contextlib
import fnmatch
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from verify.find import Detector
from verify.graphs import key_of
from verify.kinds import Violation, literal
from verify.references import ModelReference

_EXACT = 1e-4  # of a rate: factors are float32


def selected(model: keras.Model, settings: Mapping[str, Any]) -> list[Any]:
    if "variables" in settings:
        return _chosen(model, settings["variables"])
    if "excluded_variables" in settings:
        return others(model, _chosen(model, settings["excluded_variables"]))
    return list(model.trainable_variables)


def _chosen(model: keras.Model, selector: Any) -> list[Any]:
    """What a function of the model or globs over paths choose."""
    if callable(selector):
        return list(selector(model))
    globs = [selector] if isinstance(selector, str) else selector
    return [
        variable
        for variable in model.trainable_variables
        if any(fnmatch.fnmatchcase(variable.path, glob) for glob in globs)
    ]


def others(model: keras.Model, variables: Any) -> list[Any]:
    excluded = {id(variable) for variable in variables}
    return [v for v in model.trainable_variables if id(v) not in excluded]


def layers_chosen(model: keras.Model, said: Any) -> list[keras.layers.Layer]:
    """The layers that a function of the model, a name or globs choose."""
    if callable(said):
        return list(said(model))
    globs = [said] if isinstance(said, str) else said
    return [
        layer
        for layer in nested(model)
        if any(fnmatch.fnmatchcase(layer.name, glob) for glob in globs)
    ]


def nested(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model and of the models in it."""
    found = []
    for layer in model.layers:
        found.append(layer)
        if isinstance(layer, keras.Model):
            found += nested(layer)
    return found


def modes_of(reference: ModelReference, inference: Any) -> bool | dict[str, bool] | None:
    """In which mode layers run, those of `inference` as in it; None if that can't be told by layer.

    A layer of which a part runs so is left out.
    """
    if isinstance(inference, bool) or not takes_training(reference.model):
        return takes_training(reference.model) and not inference
    layers = layers_chosen(reference.model, inference)
    chosen = {key_of(variable) for layer in layers for variable in layer.variables}
    differ = reference.used_in_training ^ reference.used_in_inference
    modes = {
        literal(one.path): one.keys.isdisjoint(chosen)
        for one in reference.layers
        if one.keys & differ and (one.keys <= chosen or one.keys.isdisjoint(chosen))
    }
    return modes or None


def takes_training(layer: keras.Layer) -> bool:
    """Whether a layer is told that it trains, or a model by `fit`: what it calls infers if not."""
    return "training" in inspect.signature(layer.call).parameters


def moving(model: keras.Model, settings: Mapping[str, Any]) -> list[Any]:
    """The statistics of layers that train; in an objective, of any that may be called so."""
    inference, own = settings.get("inference", False), "objective" in settings
    if inference is True or not (own or takes_training(model)):
        return []
    still = layers_chosen(model, inference) if inference else []
    keys = {key_of(variable) for layer in still for variable in layer.variables}
    every = (v for v in model.non_trainable_variables if "float" in str(v.dtype))
    return [v for v in every if not v.trainable and key_of(v) not in keys]


@contextlib.contextmanager
def inferring(model: keras.Model, said: Any) -> Iterator[None]:
    """Within it, layers run as in inference, however they are called: those that are chosen."""
    chosen = [model] if said is True else layers_chosen(model, said) if said else []
    layers = {id(one): one for layer in chosen for one in _within(layer)}.values()
    before = {id(layer): vars(layer).get("call") for layer in layers}
    try:
        for layer in layers:
            if takes_training(layer):
                # Keras keeps track of what is set as usual.
                object.__setattr__(layer, "call", _in_inference(layer.call))
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
            if (own := before[id(layer)]) is not None:
                object.__setattr__(layer, "call", own)


def _in_inference(call: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(call)

    def called(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        given.arguments["training"] = False
        return call(*given.args, **given.kwargs)

    return called


def _within(layer: Any) -> list[Any]:
    """A layer and those in it; private, as no layer tells these otherwise. See `_could_train`."""
    return list(layer._flatten_layers(include_self=True, recursive=True))


def followed_in(
    model: keras.Model, average: Mapping[str, Any], selected: list[Any]
) -> list[tuple[list[Any], tuple[list[Any], float | None]]]:
    """What `follows` is to be of a model whose weights are an average of others.

    Args:
        average: a branch's ``"average"``, with ``"into"``.
        selected: what the branch trains.
    """
    target = _layer(model, average["into"])
    if average.get("of") is None:
        # Of a frozen layer, what was frozen counts as well; moving statistics do not.
        followers, sources = _could_train(target), selected
    else:
        followers, sources = target.weights, _layer(model, average["of"]).weights
    pairs = [
        (follower, source)
        for follower, source in zip(followers, sources, strict=False)
        if "float" in str(follower.dtype)
    ]
    if not pairs:
        return []
    own, theirs = (list(some) for some in zip(*pairs, strict=True))
    return [(own, (theirs, _rate(average)))]


def _rate(average: Mapping[str, Any]) -> float | None:
    """At which rate an average follows; None where it copies until a predicate holds."""
    return None if average.get("start") is not None else 1.0 - float(average["decay"])


def _layer(model: keras.Model, said: Any) -> Any:
    """The layer that is given, named, or returned by a function of the model."""
    if isinstance(said, str):
        return layers_chosen(model, said)[0]
    return said if isinstance(said, keras.layers.Layer) else said(model)


def _could_train(layer: Any) -> list[Any]:
    """The weights of a layer that it would train if nothing in it were frozen, in its order.

    Private: what is frozen does not tell them from its state.
    tests/verify/assertions/test_config_keys.py notices if this moves.
    """
    known = {id(variable) for one in _within(layer) for variable in one._trainable_variables}
    return [variable for variable in layer.weights if id(variable) in known]


def not_kept(
    detector: Detector, average: Mapping[str, Any], selected: Iterable[Any]
) -> list[Violation]:
    """Which of the variables that a branch trains have no average of their own at its rate."""
    rate = _rate(average)
    told = "at a rate of the step" if rate is None else f"at {rate:.6g}"
    followed: dict[int | str, list[float | None]] = {}
    for follows in detector.followers.all.values():
        for one in follows:
            followed.setdefault(one.source.key, []).append(one.rate)
    missing, others = list[str](), list[str]()
    for variable in selected:
        rates = followed.get(key_of(variable), [])
        if any(rate is None or (r is not None and np.isclose(r, rate, _EXACT)) for r in rates):
            continue
        missing.append(variable.path)
        found = ", ".join("a rate of the step" if r is None else f"{r:.6g}" for r in rates)
        others += [f"{variable.path} is followed at {found}"] if rates else []
    if not missing:
        return []
    wish = f"an average of {', '.join(missing)} {told}"
    return [Violation("follows", wish, "; ".join(others) or "no variable follows these")]
