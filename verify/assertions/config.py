"""The pairing of callback and verifier: expectations derived from a control config itself.

The expectations come from the user's dicts (``callback.config``), not from loopctl's plan: a fault
in loopctl's reading of a config must not excuse itself here.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl_shared import inner_optimizer
from verify.assertions.config_keys import (
    followed_in,
    layers_chosen,
    modes_of,
    not_kept,
    objective_of,
)
from verify.assertions.expectation import UNSET, Expectation
from verify.assertions.failure import fail
from verify.find import Detector
from verify.graphs import Region, key_of, no_collection
from verify.kinds import Violation
from verify.references import ModelReference, Term
from verify.step import Step, capture


@no_collection()
def assert_config(model: keras.Model, callback: Any, batch: Any) -> None:
    """Asserts that every substep of a controlled model is what the callback's config says.

    Checks each bound substep (``model.<action>_on`` / ``_off``) on its own and, where the callback
    is attached to this model, each branch of the main step, guarded by its control variable:
    losses, terms, clips, what is trained, in which mode layers run; and of the substeps (not among
    replicas) by which optimizer, of how many steps' gradients, of which objective, and what
    follows.

    Args:
        model: a model under control (``callback.attach(model)`` or after ``fit``).
        callback: the ``LoopControllerCallback``; only its ``config`` tells what is expected.
        batch: ``(x, y)`` or ``(x, y, sample_weight)``: tensors, arrays or ``tf.TensorSpec``.

    Raises:
        GraphAssertionError: with the violations of all substeps.
        ValueError: the model is not under control.
    """
    __tracebackhide__ = True
    if not hasattr(model, "control_variables"):
        raise ValueError(f"model {model.name!r} is not controlled: attach the callback first")
    violations: list[Violation] = []
    reference: ModelReference | None = None
    main: Step | None = None
    if (main_step := _main_step(callback, model)) is not None:
        main = capture(main_step, batch, model=model)
        reference = main.reference
    for action, settings in callback.config.items():
        for branch in (True, False):
            if branch not in settings:
                continue
            name = f"{action}_{'on' if branch else 'off'}"
            place = f"config[{action!r}][{branch}]"
            step = capture(getattr(model, name), batch, model=model, reference=reference)
            reference = step.reference
            # A substep runs on each replica; the main step is traced on all of them.
            replicas = model.distribute_strategy.num_replicas_in_sync
            step = dataclasses.replace(step, parts=replicas)
            if reference is None:
                raise TypeError(f"{batch!r} is no batch: (x, y) or (x, y, sample_weight) is needed")
            expectation = expectation_of(reference, settings[branch])
            detector = Detector(step)
            own = expectation.violations_of(detector)
            average = settings[branch].get("average", {})
            if average and average.get("into") is None and _is_plain(model, settings[branch]):
                own += not_kept(detector, average, _selected(model, settings[branch]))
            there: list[Violation] = []
            if main is not None:
                region = _branch_region(main, model.control_variables[action], branch)
                there = (
                    _of_main(expectation, settings[branch]).violations(main, region)
                    if region is not None
                    else [_unguarded(action)]
                )
            located = _located(place, name, own, there)
            violations += [_doubted(violation, reference.doubts) for violation in located]
    fail(f"model {model.name!r}", violations)


def expectation_of(reference: ModelReference, settings: Mapping[str, Any]) -> Expectation:
    """What one branch of a config promises of its substep."""
    model = reference.model
    average = settings.get("average", {})
    if average.get("into") is not None:
        # Its weights are written without a gradient.
        rest = {key: value for key, value in settings.items() if key != "average"}
        follows: Any = UNSET
        if _is_plain(model, settings):
            follows = followed_in(model, average, _selected(model, settings)) or UNSET
        values = {**expectation_of(reference, rest).values, "unwatched": UNSET}
        return Expectation.of({**values, "follows": follows})
    if "ascend" in settings or "per_example" in settings:
        # The loss is there twice, at weights that no variable has, or of each example by itself.
        return Expectation.of({"unwatched": _others(model, _selected(model, settings))})
    if settings.get("accumulate", 1) > 1:
        # What is updated is so from sums that wait in variables. What a function of the user's
        # makes of them may be anything.
        told = _is_plain(model, settings) and "gradients" not in settings
        return Expectation.of(
            {
                "unwatched": _others(model, _selected(model, settings)),
                "accumulated": settings["accumulate"] if told else UNSET,
            }
        )
    if _zero(settings.get("loss_weights")):
        # What is multiplied by zero trains nothing, where that can be seen.
        return Expectation.of({"unwatched": _others(model, _selected(model, settings))})
    if "objective" in settings:
        return _of_objective(model, settings)
    chosen = {key_of(v): v for v in _selected(model, settings)}
    # What a model computes by itself is not known by name, and taken to be by all outputs.
    computed = "loss" not in settings and type(model).compute_loss is not keras.Model.compute_loss
    data_loss = settings.get("loss", "computed" if computed else getattr(model, "loss", None))
    by_data = reference.reached_by(data_loss) & chosen.keys()
    terms = _terms(reference, settings.get("regularize", False))
    terms = [term for term in terms if term.key in chosen]
    reached = {term.key for term in terms}
    reached |= by_data
    trained = [variable for key, variable in chosen.items() if key in reached]
    # Weights belong to the outputs that a model was compiled with, whatever a branch's loss.
    weights = _own_weights(settings, data_loss) if "loss_weights" in settings else _weights(model)
    return Expectation.of(
        {
            "loss": UNSET
            if computed or weights is UNSET
            else _flat(data_loss, weights, reference)
            if by_data
            else None,
            "regularization": len(terms),
            # Where nothing is trained, nothing can be clipped.
            "clipping": _clipping(model, settings) if trained else None,
            "watched": trained,
            "unwatched": _others(model, trained),
            # Among replicas what optimizers write is not read.
            "optimizer": UNSET
            if not trained or model.distribute_strategy.num_replicas_in_sync > 1
            else _rated(model, settings),
            "training": _modes(reference, settings) if by_data and reference.stateful else UNSET,
            "allow_transforms": "gradients" in settings,
        }
    )


def _of_objective(model: keras.Model, settings: Mapping[str, Any]) -> Expectation:
    """What a branch with a forward pass of its own promises, whatever that is.

    By what it trains, and which of the chosen variables that reaches, is not known.
    """
    several = model.distribute_strategy.num_replicas_in_sync > 1
    objective = None if several else objective_of(model, settings)
    return Expectation.of(
        {
            "objective": UNSET if objective is None else objective,
            "clipping": _clipping(model, settings),
            "unwatched": _others(model, _selected(model, settings)),
            "optimizer": UNSET if several else _rated(model, settings),
            "allow_transforms": "gradients" in settings,
        }
    )


def _of_main(expectation: Expectation, settings: Mapping[str, Any]) -> Expectation:
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


def _is_plain(model: keras.Model, settings: Mapping[str, Any]) -> bool:
    """Whether a substep writes each variable once, on one replica."""
    replicas = model.distribute_strategy.num_replicas_in_sync
    return bool(replicas == 1 and settings.get("repeat", 1) == 1)


def _modes(reference: ModelReference, settings: Mapping[str, Any]) -> Any:
    """As in `fit`, layers run in training mode, unless a branch says otherwise."""
    modes = modes_of(reference, settings.get("inference", False))
    return UNSET if modes is None else modes


def _optimizer(model: keras.Model, settings: Mapping[str, Any]) -> Any:
    return keras.optimizers.get(settings.get("optimizer", model.optimizer))


def _rated(model: keras.Model, settings: Mapping[str, Any]) -> Any:
    """A branch's optimizer at the branch's rate, as far as one of Keras can say that."""
    given, rate = settings.get("optimizer"), settings.get("learning_rate")
    if given is not None and _grouped(given):
        parts = {glob: keras.optimizers.get(one) for glob, one in given.items()}
        return UNSET if rate is not None else parts
    optimizer = _optimizer(model, settings)
    if rate is None:
        return optimizer
    inner = inner_optimizer(optimizer)
    # A rate that is computed, factors of one: no optimizer has those. And which variables are
    # spared from decay is not in an optimizer's config.
    if not isinstance(rate, int | float) or inner.weight_decay or hasattr(inner, "optimizers"):
        return UNSET
    return type(inner).from_config({**inner.get_config(), "learning_rate": float(rate)})


def _grouped(optimizer: Any) -> bool:
    """Whether an entry of a config has optimizers by globs, and is no config of one."""
    return isinstance(optimizer, Mapping) and "class_name" not in optimizer


def _selected(model: keras.Model, settings: Mapping[str, Any]) -> list[Any]:
    if "variables" in settings:
        return _chosen(model, settings["variables"])
    if "excluded_variables" in settings:
        return _others(model, _chosen(model, settings["excluded_variables"]))
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


def _others(model: keras.Model, variables: Any) -> list[Any]:
    excluded = {id(variable) for variable in variables}
    return [v for v in model.trainable_variables if id(v) not in excluded]


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
    if by_name and weights.keys() == set(names):
        flat = [weights[name] for name in names]
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
        pairs = [(loss, flat[0] if flat else 1.0)] * outputs
    pairs = [(one, weight) for one, weight in pairs if one is not None and one is not False]
    # Keras trains an output that is alone by the first of several losses.
    return pairs[:1] if reference.outputs == 1 else pairs


def _clipping(model: keras.Model, settings: Mapping[str, Any]) -> Any:
    """The clip to be expected: the branch's, or the one its optimizer was constructed with."""
    if "clipping" in settings:
        return settings["clipping"]
    if _grouped(settings.get("optimizer")):
        return UNSET  # each may have a clip of its own
    optimizer = inner_optimizer(_optimizer(model, settings))
    if optimizer.clipvalue:
        return (-optimizer.clipvalue, optimizer.clipvalue)
    if optimizer.clipnorm:
        return {"norm": optimizer.clipnorm}
    if optimizer.global_clipnorm:
        return {"global_norm": optimizer.global_clipnorm}
    # A transform of the user's may clip as it likes.
    return UNSET if "gradients" in settings else None


def _main_step(callback: Any, model: keras.Model) -> Any:
    """The main step of a callback that is attached to this model, else None."""
    try:
        return callback.main_step if callback.model is model else None
    except (AttributeError, ValueError):  # a config and no more; a callback that was released
        return None


def _branch_region(step: Step, control: Any, branch: bool) -> Region | None:
    """The call path of the branch of the main step that `control` chooses for `branch`."""
    flat, key = step.flat, id(control.handle)
    for guard in flat.guards:
        node = flat.node(flat.through(guard.predicate))
        variable = flat.variable(node)
        if len(guard.branches) == 2 and variable is not None and variable.key == key:
            return guard.branches[0 if branch else 1]
    return None


def _unguarded(action: str) -> Violation:
    return Violation(
        "guards",
        f"a branch chosen by control_variables[{action!r}]",
        "no branch of the main step reads that variable",
    )


def _doubted(violation: Violation, doubts: tuple[str, ...]) -> Violation:
    new = (doubt for doubt in doubts if doubt not in violation.hints)
    return dataclasses.replace(violation, hints=(*violation.hints, *new))


def _located(
    place: str, name: str, own: list[Violation], there: list[Violation]
) -> list[Violation]:
    """Violations of a substep and of its branch of the main step; told once where they agree."""

    def same(a: Violation, b: Violation) -> bool:
        return (a.keyword, a.expected) == (b.keyword, b.expected)  # what is found has other paths

    both = [v for v in own if any(same(v, other) for other in there)]
    groups = [
        (f"{name} and main step", both),
        (name, [v for v in own if v not in both]),
        ("main step", [v for v in there if not any(same(v, other) for other in both)]),
    ]
    return [
        dataclasses.replace(v, keyword=f"{place} ({where}) {v.keyword}")
        for where, group in groups
        for v in group
    ]
