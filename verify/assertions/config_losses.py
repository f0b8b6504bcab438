"""The losses of a branch of a config, those of outputs, with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from verify.assertions.expectation import UNSET
from verify.references import ModelReference


def data_loss(model: keras.Model, settings: Mapping[str, Any]) -> tuple[Any, bool]:
    """The loss of a branch, and whether that is what the model computes by itself.

    It is not known by name then, and taken to be by all outputs.
    """
    computed = "loss" not in settings and type(model).compute_loss is not keras.Model.compute_loss
    own = "computed" if computed else getattr(model, "loss", None)
    return settings.get("loss", own), computed


def weights_in(model: keras.Model, settings: Mapping[str, Any], loss: Any) -> Any:
    """The weights of a branch; those that a model was compiled with are of its outputs."""
    return _own_weights(settings, loss) if "loss_weights" in settings else _weights(model)


def _weights(model: keras.Model) -> Any:
    """The weights of outputs that a model was compiled with; None for none.

    Private: ``get_compile_config`` has the values of variables, not the variables, and warns of
    lambdas. tests/verify/assertions/test_config.py notices when it moves.
    """
    compiled = model._compile_loss
    return None if compiled is None else compiled._user_loss_weights


def weights_given(settings: Mapping[str, Any]) -> list[Any]:
    """The weights that a branch gives, one by one."""
    return [] if "loss_weights" not in settings else tf.nest.flatten(settings["loss_weights"])


def has_zero(settings: Mapping[str, Any]) -> bool:
    """Whether one of them is zero."""
    return any(isinstance(w, int | float) and w == 0 for w in weights_given(settings))


def _own_weights(settings: Mapping[str, Any], loss: Any) -> Any:
    """The weights that a branch gives, where they are numbers that are arranged as its losses."""
    given = settings["loss_weights"]
    if any(not isinstance(weight, int | float) for weight in tf.nest.flatten(given)):
        return UNSET
    if isinstance(given, Mapping):
        return given if isinstance(loss, Mapping) and given.keys() == loss.keys() else UNSET
    if isinstance(given, list | tuple):
        lists = isinstance(loss, list | tuple) and len(loss) == len(given)
        return given if lists else UNSET
    if isinstance(loss, Mapping):
        return dict.fromkeys(loss, given)
    return [given] * (len(loss) if isinstance(loss, list | tuple) else 1)


def flat_losses(loss: Any, weights: Any, reference: ModelReference) -> list[tuple[Any, Any]]:
    """One loss, or those of several outputs, each with the weight of its output."""
    names = list(getattr(reference.model, "output_names", None) or [])
    by_name = isinstance(weights, Mapping)
    # One weight is that of every output.
    one_for_all = weights is not None and not isinstance(weights, Mapping | list | tuple)
    rest = weights if one_for_all else 1.0
    if by_name and weights.keys() <= set(names):
        flat = [weights.get(name, 1.0) for name in names]
    else:
        flat = [] if weights is None else tf.nest.flatten(weights)
    if isinstance(loss, Mapping):
        of = weights if by_name else {} if one_for_all else dict(zip(names, flat, strict=False))
        pairs = [(one, of.get(output, rest)) for output, one in loss.items()]
    elif isinstance(loss, list | tuple):
        each = [rest] * len(loss) if one_for_all or not flat else flat
        pairs = list(zip(loss, each, strict=True))
    else:
        # One loss is that of every output.
        outputs = 1 if reference.untraced else reference.outputs
        each = flat if len(flat) == outputs else [flat[0] if flat else 1.0] * outputs
        pairs = [(loss, weight) for weight in each]
    pairs = [(one, weight) for one, weight in pairs if one is not None and one is not False]
    # Keras trains an output that is alone by the first of several losses.
    return pairs[:1] if reference.outputs == 1 else pairs
