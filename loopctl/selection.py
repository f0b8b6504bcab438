"""Which variables a substep trains on a given model, and whether a plan fits that model."""

from __future__ import annotations

from typing import Any

import keras

from loopctl.errors import ConfigError, place
from loopctl.plan import ControlPlan, Substep


def check_names(plan: ControlPlan, model: keras.Model, taken: frozenset[str]) -> None:
    """Raises if binding the plan would hide an attribute of `model`; `taken` are our own."""
    for action in plan.actions:
        for name in (action.name, f"{action.name}_on", f"{action.name}_off"):
            if name not in taken and hasattr(model, name):
                raise ConfigError(
                    f"{place(action.name)}: {name!r} shadows an attribute of model {model.name!r}"
                )
    metrics_of(model, plan)


def metrics_of(model: keras.Model, plan: ControlPlan) -> dict[str, Any]:
    """The results of the model's metrics by name, apart from all names of the plan.

    Keras builds metrics, and knows their names, when they first measure something: this is asked
    at `attach` and, since they may not be built then, when the main step is traced.
    """
    try:
        metrics: dict[str, Any] = dict(model.get_metrics_result())
    except ValueError:  # none has measured anything yet
        metrics = {}
    logged = {*metrics, "loss", *(f"loss_{action.name}" for action in plan.actions)}
    for action in plan.actions:
        if action.name in logged:
            raise ConfigError(
                f"{place(action.name)}: {action.name!r} is a name in fit's logs already "
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
        chosen = {id(v) for v in _checked(substep.variables(model), model, trainable, where)}
        selected = [variable for variable in trainable if id(variable) in chosen]
    elif substep.excluded_variables is not None:
        where = substep.place("excluded_variables")
        excluded = {
            id(v) for v in _checked(substep.excluded_variables(model), model, trainable, where)
        }
        selected = [variable for variable in trainable if id(variable) not in excluded]
    else:
        where = substep.place()
        selected = trainable
    if not selected:
        raise ConfigError(f"{where} leaves no variable of model {model.name!r} to train")
    return selected


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
            f"{where} returned {shown}, which is no variable of model {model.name!r}. "
            f"Its trainable variables: {paths}"
        )
    return list(found)
