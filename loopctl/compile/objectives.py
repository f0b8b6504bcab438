"""Objectives: a branch's own forward pass and loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl.compile.parts import Parts
from loopctl.compile.selection import layers_of
from loopctl.config import ConfigError, ControlPlan, Substep, closest

Objective = Callable[[Any, Any], Any]


def checked(objective: Objective, substep: Substep) -> Objective:
    """The objective of a substep, whose results must be a loss: a scalar, or a dict of scalars, or
    one of these with a prediction.

    Raises:
        ConfigError: when it is called, naming what it returned.
    """

    where, weights = substep.place("objective"), substep.loss_weights
    names = () if weights is None else weights.names or ()

    def compute(model: Any, data: Any) -> Any:
        found = objective(model, data)
        loss = found
        if isinstance(found, tuple):
            if len(found) != 2:
                raise ConfigError(
                    f"{where} returned a tuple of {len(found)}: a loss, or (loss, y_pred), is "
                    "needed"
                )
            loss = found[0]
        if not isinstance(loss, Mapping):
            _check(loss, f"{where} returned")
        elif not loss:
            raise ConfigError(f"{where} returned an empty dict: at least one named loss is needed")
        else:
            for name, part in loss.items():
                if not isinstance(name, str) or not name:
                    raise ConfigError(f"{where} returned a loss named {name!r}: text is needed")
                _check(part, f"{where} returned, under {name!r},")
        parts = loss if isinstance(loss, Mapping) else {}
        for name in names:
            if name not in parts:
                raise ConfigError(
                    f"{substep.place('loss_weights')} has a weight for {name!r}, which is not a "
                    "part of the objective. It returns "
                    f"{', '.join(map(repr, parts)) or 'one loss'}.{closest(name, parts)}"
                )
        return found

    return compute


def _check(loss: Any, told: str) -> None:
    if loss is None:
        raise ConfigError(f"{told} None: a scalar loss is needed")
    tensor = tf.convert_to_tensor(loss)
    if not tensor.dtype.is_floating:
        raise ConfigError(f"{told} {tensor.dtype.name}: a loss of a floating-point type is needed")
    if tensor.shape.rank:
        raise ConfigError(
            f"{told} a tensor of shape {tuple(tensor.shape)}: a scalar is needed, such as its mean"
        )


def loss_and_parts(
    found: Any, share: Any = 1.0, weights: Any = None
) -> tuple[Any, dict[str, Any], Any]:
    """What an objective returned, as a loss, its named parts and a prediction, if it gave any.

    Args:
        found: a scalar, or a dict of scalars whose sum is the loss, or a pair of one of these and
            a prediction.
        share: what the loss counts: that of this replica, of several.
        weights: of the loss, a scalar; or of its parts, a dict of scalars by name, in which those
            that count once may be missing.
    """
    loss, y_pred = found if isinstance(found, tuple) else (found, None)
    parts = loss if isinstance(loss, Mapping) else {}
    floatx = keras.backend.floatx()
    parts = {name: tf.cast(part, floatx) * share for name, part in parts.items()}
    summands = dict(parts)
    if isinstance(weights, Mapping):
        summands |= {name: parts[name] * tf.cast(w, floatx) for name, w in weights.items()}
    loss = tf.add_n(list(summands.values())) if parts else tf.cast(loss, floatx) * share
    if weights is not None and not isinstance(weights, Mapping):
        loss = loss * tf.cast(weights, floatx)
    return loss, parts, y_pred


def forget_added_losses(model: Any) -> None:
    """Forgets what layers have added to a loss in a forward pass before.

    A model does so when it is called, but an objective may call its submodels only. Private: there
    is no public way. tests/loopctl/compile/test_objectives.py notices when it moves.
    """
    model._clear_losses()


def has_call(model: keras.Model) -> bool:
    """Whether a model can be called, and does not just hold models."""
    return getattr(model.call, "__func__", None) is not keras.Model.call


def is_built(model: keras.Model) -> bool:
    """Whether all variables of a model are there: if it has no `call`, those of all its layers."""
    if model.built or has_call(model):
        return bool(model.built)
    layers = layers_of(model)
    return bool(layers) and all(layer.built for layer in layers)


def unbuilt_layers(model: keras.Model) -> list[str]:
    """The names of layers that have no variables yet, of a model that says it is built.

    Keras takes a subclassed model for built when `build` was called, though its layers make their
    variables in its first call.
    """
    if not (model.built and has_call(model)):
        return []
    return [layer.name for layer in layers_of(model) if not layer.built]


def rehearse(plan: ControlPlan, model: keras.Model, parts: Parts, data: Any) -> None:
    """Runs every objective once, to no effect: so that its parts are known, and metrics are built.

    Eagerly, a branch may be run long after the first step; tracing goes through all of them.
    """
    with keras.StatelessScope():
        for substep in plan.substeps:
            if substep.objective is not None:
                found = checked(substep.objective, substep)(model, data)
                _, named, y_pred = loss_and_parts(found)
                parts.know(substep.action, named)
                if y_pred is not None:
                    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
                    model.compute_metrics(x, y, y_pred, sample_weight)
