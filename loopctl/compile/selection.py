"""What a substep's selections mean on a given model, and whether a plan fits that model."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Any

import keras

from loopctl.config import ConfigError, ControlPlan, Selector, Substep, closest_glob, place


def check_names(plan: ControlPlan, model: keras.Model, taken: frozenset[str]) -> None:
    """Raises if binding the plan would hide an attribute of `model`; `taken` are our own."""
    for action in plan.actions:
        for name in (action.name, f"{action.name}_on", f"{action.name}_off"):
            if name not in taken and hasattr(model, name):
                raise ConfigError(
                    f"{place(action.name)}: {name!r} shadows an attribute of model {model.name!r}"
                )
    metrics_of(model, plan)


def metrics_of(model: keras.Model, plan: ControlPlan, traced: bool = False) -> dict[str, Any]:
    """The results of the model's metrics by name, apart from all names of the plan.

    Keras builds metrics, and knows their names, when they first measure something: this is asked
    at `attach` and, since they may not be built then, when the main step is traced.

    Args:
        traced: every substep has been traced, so that metrics that ever measure have done so.

    Raises:
        ConfigError: a name is taken, or metrics never measure.
    """
    try:
        metrics: dict[str, Any] = dict(model.get_metrics_result())
    except ValueError:  # none has measured anything yet
        metrics = {}
        if traced:
            raise ConfigError(
                f"model {model.name!r} was compiled with metrics, but no branch has a prediction "
                'for them: let an "objective" return (loss, y_pred), or compile without metrics'
            ) from None
    for name in plan.skipping:
        if f"skipped_{name}" in metrics:
            raise ConfigError(
                f"{place(name)}: updates that are skipped are reported as 'skipped_{name}', which "
                "is already a metric in the logs of fit"
            )
    logged = {*metrics, *plan.logged}
    for action in plan.actions:
        if action.name in logged:
            raise ConfigError(
                f"{place(action.name)}: {action.name!r} is already a name in the logs of fit "
                "(a metric or a loss): the action's control state would hide it"
            )
    return metrics


def select(substep: Substep, model: keras.Model) -> list[Any]:
    """The variables a substep trains, in the model's order.

    Raises:
        ConfigError: the selection is no list of this model's trainable variables, or is empty.
    """
    trainable = list(model.trainable_variables)
    if substep.variables is not None:
        where = substep.place("variables")
        chosen = {id(v) for v in _variables(substep.variables, model, trainable, where)}
        selected = [variable for variable in trainable if id(variable) in chosen]
    elif substep.excluded_variables is not None:
        where = substep.place("excluded_variables")
        excluded = {id(v) for v in _variables(substep.excluded_variables, model, trainable, where)}
        selected = [variable for variable in trainable if id(variable) not in excluded]
    else:
        where = substep.place()
        selected = trainable
    if not selected:
        raise ConfigError(f"{where} leaves no variables of model {model.name!r} to train")
    _check_overwritten(substep, selected)
    return selected


def _check_overwritten(substep: Substep, selected: list[Any]) -> None:
    """Refuses to change what a variable takes as its new value: it only looks like a gradient."""
    # Not all versions of Keras know of such variables.
    odd = [v for v in selected if getattr(v, "overwrite_with_gradient", False)]
    changes = {
        "ascend": substep.ascend is not None,
        "per_example": substep.per_example is not None,
        "accumulate": substep.accumulate > 1,
        "gradients": substep.gradients is not None,
        "clipping": substep.clipping is not None,
    }
    changing = [key for key, given in changes.items() if given]
    if odd and changing:
        raise ConfigError(
            f"{substep.place(changing[0])} would change what {odd[0].path} takes as its new value "
            "in the place of a gradient (overwrite_with_gradient, as in layers of float8): leave "
            f"such variables out of the branch, or {changing[0]!r}"
        )


def _variables(chosen: Selector, model: keras.Model, trainable: list[Any], where: str) -> list[Any]:
    if isinstance(chosen, tuple):
        return _matching(chosen, [(v.path, v) for v in trainable], "trainable variable", where)
    return _checked(chosen(model), model, trainable, where)


def _checked(found: Any, model: keras.Model, trainable: list[Any], where: str) -> list[Any]:
    if not isinstance(found, list | tuple):
        raise ConfigError(f"{where} returned {found!r}: a list of the model's variables is needed")
    known = {id(variable) for variable in trainable}
    frozen = {id(variable) for variable in model.non_trainable_variables}
    for variable in found:
        if id(variable) in known:
            continue
        shown = getattr(variable, "path", repr(variable))
        if id(variable) in frozen:
            raise ConfigError(f"{where} returned {shown}, which is not trainable")
        paths = ", ".join(v.path for v in trainable)
        raise ConfigError(
            f"{where} returned {shown}, which is not a variable of model {model.name!r}. "
            f"Its trainable variables: {paths}"
        )
    return list(found)


def regularized_layers(substep: Substep, model: keras.Model) -> list[Any] | None:
    """The layers whose losses a substep adds; None for all of them.

    A layer's losses hold those of the layers in it: of nested layers only the outer one is given.

    Raises:
        ConfigError: the selection is no list of this model's layers, or is empty.
    """
    if isinstance(substep.regularize, bool):
        return None
    layers = layers_of(model)
    chosen = _layers(substep.regularize, model, substep.place("regularize"))
    ids = {id(layer) for layer in chosen}
    inner = {id(i) for layer in chosen for i in layers_of(layer)}
    return [layer for layer in layers if id(layer) in ids - inner]


def inferring_layers(substep: Substep, model: keras.Model) -> list[Any]:
    """The layers that run as in inference in a substep, with all layers in them.

    Raises:
        ConfigError: the selection is no list of this model's layers, or is empty.
    """
    if substep.inference is False:
        return []
    layers = layers_of(model)
    if substep.inference is True:
        return [model, *layers]
    chosen = _layers(substep.inference, model, substep.place("inference"))
    ids = {id(one) for layer in chosen for one in (layer, *layers_of(layer))}
    return [layer for layer in layers if id(layer) in ids]


def _layers(choice: Selector, model: keras.Model, where: str) -> list[Any]:
    """The layers of a model that globs over names, or a function of the model, choose."""
    layers = layers_of(model)
    if isinstance(choice, tuple):
        return _matching(choice, [(layer.name, layer) for layer in layers], "layer", where)
    chosen = choice(model)
    if not isinstance(chosen, list | tuple) or not chosen:
        raise ConfigError(f"{where} returned {chosen!r}: a list of the model's layers is needed")
    known = {id(layer) for layer in layers}
    for layer in chosen:
        if id(layer) not in known:
            shown = getattr(layer, "name", repr(layer))
            names = ", ".join(layer.name for layer in layers)
            raise ConfigError(
                f"{where} returned {shown}, which is not a layer of model {model.name!r}. "
                f"Its layers: {names}"
            )
    return list(chosen)


def layers_of(layer: Any) -> list[Any]:
    """All layers inside a layer or model, nested ones as well.

    Private: ``model.layers`` stops at the first level, and other layers have no public list at
    all. tests/loopctl/compile/test_selection.py notices when it moves.
    """
    return list(layer._flatten_layers(include_self=False, recursive=True))


def layer_of(choice: Any, model: keras.Model, where: str) -> Any:
    """The layer of `model` that is given, named, or returned by a function of the model.

    Raises:
        ConfigError: it is none of the model's, or several have the name.
    """
    layers = layers_of(model)
    if isinstance(choice, str):
        found = _matching([choice], [(layer.name, layer) for layer in layers], "layer", where)
        if len(found) > 1:
            raise ConfigError(f"{where} is {choice!r}: {len(found)} layers have that name")
        return found[0]
    layer = choice if isinstance(choice, keras.layers.Layer) else choice(model)
    if not any(layer is one for one in layers):
        shown = getattr(layer, "name", repr(layer))
        raise ConfigError(
            f"{where} is {shown}, which is not a layer of model {model.name!r}: make it an "
            "attribute of the model, so that it is saved with the model"
        )
    return layer


def statistics_of(model: keras.Model) -> list[Any]:
    """Floating-point state that a forward pass moves, such as BatchNormalization's averages.

    State of other types is not kept: it tells random numbers apart.
    """
    return [v for v in model.non_trainable_variables if v.dtype.startswith(("float", "bfloat"))]


def grouped(globs: list[str], selected: list[Any], where: str) -> list[list[Any]]:
    """The variables whose paths each glob matches.

    Raises:
        ConfigError: a glob matches none, or two match the same.
    """
    found: list[list[Any]] = []
    owner: dict[int, str] = {}
    for glob in globs:
        matched = [v for v in selected if fnmatch.fnmatchcase(v.path, glob)]
        if not matched:
            paths = [v.path for v in selected]
            raise ConfigError(
                f"{where}: {glob!r} matches no variable that the branch trains. It trains "
                f"{', '.join(paths)}.{closest_glob(glob, paths)}"
            )
        both = [v.path for v in matched if id(v) in owner]
        if both:
            other = next(owner[id(v)] for v in matched if id(v) in owner)
            raise ConfigError(
                f"{where}: both {other!r} and {glob!r} match {', '.join(both)}: one glob for each "
                "variable is needed"
            )
        owner |= {id(v): glob for v in matched}
        found.append(matched)
    return found


def _matching(
    globs: Iterable[str], named: list[tuple[str, Any]], kind: str, where: str
) -> list[Any]:
    """Everything that a glob names: names need not be unique."""
    found: dict[int, Any] = {}
    for glob in globs:
        matched = [thing for name, thing in named if fnmatch.fnmatchcase(name, glob)]
        if not matched:
            names = list(dict.fromkeys(name for name, _ in named))
            raise ConfigError(
                f"{where}: {glob!r} matches no {kind}. There are {', '.join(names)}."
                f"{closest_glob(glob, names)}"
            )
        found.update((id(thing), thing) for thing in matched)
    return list(found.values())
