"""What one branch of a config promises of its substep, as keywords of `verify.assert_graph`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl_shared import inner_optimizer
from verify.assertions.config_gradients import entering
from verify.assertions.config_keys import followed_in, layers_chosen, modes_of, others, selected
from verify.assertions.config_updates import UnsaidError, clip_of, rated
from verify.assertions.expectation import UNSET, Expectation
from verify.graphs import key_of
from verify.references import ModelReference, Term


def expectation_of(
    reference: ModelReference,
    settings: Mapping[str, Any],
    left: list[str],
    counters: Mapping[str, Any],
) -> Expectation:
    """What one branch of a config promises of its substep.

    Args:
        left: what it says besides is added to these, each with the reason.
        counters: the variables of the substep that count, by name.
    """
    model, chosen = reference.model, selected(reference.model, settings)
    several = model.distribute_strategy.num_replicas_in_sync > 1
    own_pass = any(key in settings for key in ("objective", "ascend", "per_example"))
    weights = settings.get("loss_weights")
    # What is multiplied by zero trains nothing, where that can be seen.
    if own_pass or settings.get("accumulate", 1) > 1 or _zero(weights):
        values = {"unwatched": others(model, chosen), "clipping": clip_of(model, settings)}
    else:
        values = _of_losses(reference, settings, left)
    if several:
        left.append("optimizer, objective, accumulate, average: replicas are looked at one by one")
        return Expectation.of(values)
    values["optimizer"] = UNSET
    if values.get("watched", True):
        try:
            values["optimizer"] = rated(model, settings, chosen)
        except UnsaidError as why:
            left.append(f"learning_rate: {why}")
    if "loss" not in values or values["loss"] is UNSET or "gradients" in settings:
        values |= _entering(reference, settings, left, counters)
    repeated = settings.get("repeat", 1) > 1
    if settings.get("accumulate", 1) > 1:
        # What a function of the user's makes of the mean may be anything.
        if repeated or "gradients" in settings:
            left.append("accumulate: with repeat, or gradients")
        else:
            values["accumulated"] = settings["accumulate"]
    average = settings.get("average", {})
    if average.get("start") is not None:
        left.append("average: when it starts")
    if average.get("into") is not None:
        # Its weights are written without a gradient.
        values["unwatched"] = UNSET
        if repeated:
            left.append("average: with repeat")
        else:
            values["follows"] = followed_in(model, average, chosen) or UNSET
    return Expectation.of(values)


def _of_losses(
    reference: ModelReference, settings: Mapping[str, Any], left: list[str]
) -> dict[str, Any]:
    """What a branch promises that trains by the losses of outputs in one pass."""
    model = reference.model
    chosen = {key_of(v): v for v in selected(model, settings)}
    data_loss, computed = _data_loss(model, settings)
    by_data = reference.reached_by(data_loss) & chosen.keys()
    terms = _terms(reference, settings.get("regularize", False))
    terms = [term for term in terms if term.key in chosen]
    reached = {term.key for term in terms}
    reached |= by_data
    trained = [variable for key, variable in chosen.items() if key in reached]
    weights = _weights_in(model, settings, data_loss)
    loss: Any = UNSET
    if not by_data:
        loss = None
    elif not computed and weights is not UNSET:
        loss = _flat(data_loss, weights, reference)
    modes = modes_of(reference, settings.get("inference", False))
    stateful = bool(by_data and reference.stateful)
    if stateful and modes is None:
        left.append("inference: parts of layers")
    return {
        "loss": loss,
        "regularization": len(terms),
        # Where nothing is trained, nothing can be clipped.
        "clipping": clip_of(model, settings) if trained else None,
        "watched": trained,
        "unwatched": others(model, trained),
        # As in `fit`, layers run in training mode, unless a branch says otherwise.
        "training": modes if stateful and modes is not None else UNSET,
        "allow_transforms": "gradients" in settings,
    }


def _entering(
    reference: ModelReference,
    settings: Mapping[str, Any],
    left: list[str],
    counters: Mapping[str, Any],
) -> dict[str, Any]:
    """What enters the optimizer of a branch, as an objective; that may be a part of it alone."""
    model = reference.model
    data_loss, computed = _data_loss(model, settings)
    try:
        if settings.get("repeat", 1) > 1:
            raise UnsaidError("a substep is repeated")
        if computed and "objective" not in settings:
            raise UnsaidError("the model computes its loss by itself")
        if settings.get("accumulate", 1) > 1 and _scales_loss(model, settings):
            raise UnsaidError("gradients are summed while they are scaled")
        weights = settings.get("loss_weights", _weights(model))
        pairs = [] if "objective" in settings else _flat(data_loss, weights, reference)
        chosen = selected(model, settings)
        made = entering(reference, settings, pairs, chosen, counters)
        noise = settings.get("per_example", {}).get("noise")
        return {"objective": made, **({"allow_transforms": True} if noise else {})}
    except UnsaidError as why:
        left.append(f"{', '.join(_about(settings))}: {why}")
        return {}


def _scales_loss(model: keras.Model, settings: Mapping[str, Any]) -> bool:
    """Whether an optimizer of a branch multiplies the loss, and divides gradients later."""
    own = settings.get("optimizer", model.optimizer)
    every = own.values() if isinstance(own, Mapping) else [own]
    return any(inner_optimizer(one) is not one for one in every)


def _about(settings: Mapping[str, Any]) -> list[str]:
    """The keys that decide what enters an optimizer."""
    every = ("objective", "loss", "loss_weights", "ascend", "per_example", "gradients")
    return [key for key in every if key in settings] or ["loss"]


def _data_loss(model: keras.Model, settings: Mapping[str, Any]) -> tuple[Any, bool]:
    """The loss of a branch, and whether that is what the model computes by itself.

    It is not known by name then, and taken to be by all outputs.
    """
    computed = "loss" not in settings and type(model).compute_loss is not keras.Model.compute_loss
    own = "computed" if computed else getattr(model, "loss", None)
    return settings.get("loss", own), computed


def _weights_in(model: keras.Model, settings: Mapping[str, Any], loss: Any) -> Any:
    """The weights of a branch; those that a model was compiled with are of its outputs."""
    return _own_weights(settings, loss) if "loss_weights" in settings else _weights(model)


def of_main(expectation: Expectation, settings: Mapping[str, Any]) -> Expectation:
    """What the main step's branch should be: a repeated substep is there once, and in a loop.

    Variables may be updated by several substeps: by which optimizer, of what, how often and what
    follows them is told of each substep alone.
    """
    alone = ("optimizer", "objective", "accumulated", "follows")
    values = {**expectation.values, **dict.fromkeys(alone, UNSET)}
    if settings.get("repeat", 1) > 1:
        if values.get("loss"):
            values["loss"] *= 2
        if "regularization" in values:
            values["regularization"] *= 2
    return Expectation.of(values)


def _terms(reference: ModelReference, regularize: Any) -> list[Term]:
    """The regularisation terms that a branch adds: all, none, or those of some layers."""
    if isinstance(regularize, bool):
        return list(reference.terms) if regularize else []
    layers = layers_chosen(reference.model, regularize)
    keys = {key_of(v) for layer in layers for v in layer.trainable_variables}
    return [term for term in reference.terms if term.key in keys]


def _weights(model: keras.Model) -> Any:
    """The weights of outputs that a model was compiled with; None for none.

    Private: ``get_compile_config`` has the values of variables, not the variables, and warns of
    lambdas. tests/verify/assertions/test_config.py notices when it moves.
    """
    compiled = model._compile_loss
    return None if compiled is None else compiled._user_loss_weights


def _zero(weights: Any) -> bool:
    """Whether one of the weights that a branch gives is zero."""
    return any(isinstance(w, int | float) and w == 0 for w in tf.nest.flatten(weights))


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


def _flat(loss: Any, weights: Any, reference: ModelReference) -> list[tuple[Any, Any]]:
    """One loss, or those of several outputs, each with the weight of its output."""
    names = list(getattr(reference.model, "output_names", None) or [])
    by_name = isinstance(weights, Mapping)
    if by_name and weights.keys() <= set(names):
        flat = [weights.get(name, 1.0) for name in names]
    else:
        flat = [] if weights is None else tf.nest.flatten(weights)
    if isinstance(loss, Mapping):
        of = weights if by_name else dict(zip(names, flat, strict=False))
        pairs = [(one, of.get(output, 1.0)) for output, one in loss.items()]
    elif isinstance(loss, list | tuple):
        pairs = list(zip(loss, flat or [1.0] * len(loss), strict=True))
    else:
        # One loss is that of every output.
        outputs = 1 if reference.untraced else reference.outputs
        each = flat if len(flat) == outputs else [flat[0] if flat else 1.0] * outputs
        pairs = [(loss, weight) for weight in each]
    pairs = [(one, weight) for one, weight in pairs if one is not None and one is not False]
    # Keras trains an output that is alone by the first of several losses.
    return pairs[:1] if reference.outputs == 1 else pairs
