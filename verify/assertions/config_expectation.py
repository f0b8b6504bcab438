"""What one branch of a config promises of its substep, as keywords of `verify.assert_graph`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from verify.assertions.config_gradients import gradients_of
from verify.assertions.config_keys import followed_in, layers_chosen, modes_of, others, selected
from verify.assertions.config_losses import (
    data_loss,
    flat_losses,
    has_zero,
    weights_given,
    weights_in,
)
from verify.assertions.config_updates import (
    UnsaidError,
    accumulates,
    by_path,
    clip_of,
    is_counted,
)
from verify.assertions.expectation import UNSET, Expectation
from verify.find import Detector
from verify.graphs import key_of
from verify.references import ModelReference, Term


def expectation_of(
    reference: ModelReference,
    settings: Mapping[str, Any],
    left: list[str],
    detector: Detector,
    counters: Mapping[str, Any],
) -> Expectation:
    """What one branch of a config promises of its substep.

    Args:
        left: what it says besides is added to these, each with the reason.
        detector: of the substep: where the config alone does not say what is trained, that does.
            It knows the optimizers that are expected.
        counters: the variables of the substep that count, by name.
    """
    model, chosen = reference.model, selected(reference.model, settings)
    weighed = any(not isinstance(w, int | float) for w in weights_given(settings))
    if "per_example" in settings and (weighed or not _goes_by_data(detector)):
        left.append(f"{', '.join(_about(settings))}: how examples are gone through is not known")
        return Expectation.of({"unwatched": others(model, chosen)})
    there = {update.variable.key for update in detector.flow.trained}
    trained = [variable for variable in chosen if key_of(variable) in there]
    values = _of_what(reference, settings, left, trained)
    if model.distribute_strategy.num_replicas_in_sync > 1:
        left.append("optimizer, objective, accumulate, average: replicas are looked at one by one")
        return Expectation.of(values)
    if trained:
        if detector.expected:
            values["optimizer"] = by_path(detector.expected, trained)
        if values.get("loss", UNSET) is UNSET:
            values |= _entering(reference, settings, left, counters)
        values |= _of_several_steps(model, settings, left)
    average = settings.get("average", {})
    if average.get("start") is not None:
        left.append("average: when it starts")
    if average.get("into") is not None:
        # Its weights are written without a gradient.
        values["unwatched"] = UNSET
        if average.get("start") is None or is_counted(average["start"]):
            values["follows"] = followed_in(model, average, chosen) or UNSET
    return Expectation.of(values)


def _goes_by_data(detector: Detector) -> bool:
    """Whether backward passes are known of what data decide, not of regularisers alone."""
    flow = detector.flow
    return not flow.unseen and any(seed.loss[0] in flow.of_data for seed in flow.seeds)


def _of_what(
    reference: ModelReference, settings: Mapping[str, Any], left: list[str], trained: list[Any]
) -> dict[str, Any]:
    """What is trained, by which losses, with which clip.

    `trained`: what the step trains of what the branch has chosen.
    """
    model, own_pass = reference.model, has_own_pass(settings)
    # What is multiplied by zero trains nothing, where that can be seen.
    if "objective" in settings or has_zero(settings):
        watched = {"unwatched": others(model, selected(model, settings))}
    else:
        values = _of_losses(reference, settings, left)
        if not own_pass and settings.get("accumulate", 1) == 1:
            return values
        asked = ("watched", "unwatched", *(() if own_pass else ("training",)))
        watched = {key: values[key] for key in asked}
    return {**watched, "clipping": _clip(model, settings, trained, left)} if trained else watched


def _clip(
    model: keras.Model, settings: Mapping[str, Any], trained: list[Any], left: list[str]
) -> Any:
    clip = clip_of(model, settings, trained)
    if clip is UNSET and "clipping" in settings:
        left.append("clipping: the optimizer clips numbers otherwise, which can't be told apart")
    return clip


def has_own_pass(settings: Mapping[str, Any]) -> bool:
    """Whether a branch takes gradients of another thing than the losses of outputs in one pass."""
    return any(key in settings for key in ("objective", "ascend", "per_example"))


def _of_several_steps(
    model: keras.Model, settings: Mapping[str, Any], left: list[str]
) -> dict[str, Any]:
    """How the gradients of several steps are made one update, or that each step makes one."""
    steps = settings.get("accumulate", 1)
    if steps == 1:
        return {} if accumulates(model, settings) else {"accumulated": None}
    # What a function of the user's makes of the mean may be anything; of single examples, the way
    # of a gradient begins at their sum.
    several = [key for key in ("gradients", "per_example") if key in settings]
    if several:
        left.append(f"accumulate: with {', '.join(several)}")
        return {}
    return {"accumulated": steps}


def _of_losses(
    reference: ModelReference, settings: Mapping[str, Any], left: list[str]
) -> dict[str, Any]:
    """What a branch promises that trains by the losses of outputs in one pass."""
    model = reference.model
    chosen = {key_of(v): v for v in selected(model, settings)}
    own, computed = data_loss(model, settings)
    by_data = reference.reached_by(own) & chosen.keys()
    terms = terms_of(reference, settings.get("regularize", False))
    terms = [term for term in terms if term.key in chosen]
    reached = {term.key for term in terms}
    reached |= by_data
    trained = [variable for key, variable in chosen.items() if key in reached]
    weights = weights_in(model, settings, own)
    loss: Any = UNSET
    if not by_data:
        loss = None
    elif not computed and weights is not UNSET:
        loss = flat_losses(own, weights, reference)
    modes = modes_of(reference, settings.get("inference", False))
    stateful = bool(by_data and reference.stateful)
    if stateful and modes is None:
        left.append("inference: parts of layers")
    return {
        "loss": loss,
        "regularization": len(terms),
        # Where nothing is trained, nothing can be clipped.
        "clipping": _clip(model, settings, trained, left) if trained else None,
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
    """The gradients of a branch as those of an objective, where no loss is known by its name."""
    try:
        noise = settings.get("per_example", {}).get("noise")
        transforms = noise or "gradients" in settings
        return {
            "objective": gradients_of(reference, settings, counters),
            **({"allow_transforms": True} if transforms else {}),
        }
    except UnsaidError as why:
        left.append(f"{', '.join(_about(settings))}: {why}")
        return {}


def _about(settings: Mapping[str, Any]) -> list[str]:
    """The keys that decide what enters an optimizer."""
    every = ("objective", "loss", "loss_weights", "ascend", "per_example")
    return [key for key in every if key in settings] or ["loss"]


def of_main(expectation: Expectation, settings: Mapping[str, Any]) -> Expectation:
    """What the main step's branch should be: a repeated substep is there once, and in a loop.

    Variables may be updated by several substeps: by which optimizer, of what, how often and what
    follows them is told of each substep alone.
    """
    alone = ["optimizer", "objective", "accumulated", "follows"]
    if settings.get("accumulate", 1) > 1:
        alone.append("clipping")  # where the mean is clipped, that of one call is asked
    values = {**expectation.values, **dict.fromkeys(alone, UNSET)}
    if settings.get("repeat", 1) > 1:
        if values.get("loss"):
            values["loss"] *= 2
        if "regularization" in values:
            values["regularization"] *= 2
    return Expectation.of(values)


def terms_of(reference: ModelReference, regularize: Any) -> list[Term]:
    """The regularisation terms that a branch adds: all, none, or those of some layers."""
    if isinstance(regularize, bool):
        return list(reference.terms) if regularize else []
    layers = layers_chosen(reference.model, regularize)
    keys = {key_of(v) for layer in layers for v in layer.trainable_variables}
    return [term for term in reference.terms if term.key in keys]
