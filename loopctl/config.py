"""A user's dict -> `ControlPlan`: every rule of validity that needs no model, and its error."""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from loopctl.errors import ConfigError, closest, place
from loopctl.losses import FunctionLoss, OutputLosses
from loopctl.plan import Action, AsyncAction, ControlPlan, Substep

ACTION_KEYS = ("cond", True, False)
BRANCH_KEYS = ("loss", "regularize", "variables", "excluded_variables", "clipping")
ASYNC_KEYS = ("cond", "model", "callback")


def parse(config: Any, async_config: Any = None) -> ControlPlan:
    """The plan of a config (SPEC 1.2) and an async config (1.3).

    Raises:
        ConfigError: naming the entry, what it is and what is allowed.
    """
    actions = tuple(_action(name, entry) for name, entry in _mapping(config, "config").items())
    if not actions:
        raise ConfigError("config is empty: at least one action is needed")
    extra = _mapping({} if async_config is None else async_config, "async_config")
    return ControlPlan(actions, tuple(_async(name, entry) for name, entry in extra.items()))


def _mapping(value: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} is {value!r}: a dict is needed")
    return value


def _known_keys(entry: Mapping[Any, Any], allowed: tuple[Any, ...], where: str) -> None:
    for key in entry:
        # True == 1: the type decides as well, so that 1 is no spelling of True.
        if not any(key == other and type(key) is type(other) for other in allowed):
            choices = ", ".join(map(repr, allowed))
            hint = closest(key, allowed)
            raise ConfigError(f"{where} has the unknown key {key!r}: allowed are {choices}.{hint}")


def _callable(entry: Mapping[Any, Any], key: str, where: str) -> Callable[..., Any]:
    if key not in entry:
        raise ConfigError(f'{where} has no "{key}": a callable is needed')
    if not callable(entry[key]):
        raise ConfigError(f'{where}["{key}"] is {entry[key]!r}: a callable is needed')
    function: Callable[..., Any] = entry[key]
    return function


def _action(name: Any, entry: Any) -> Action:
    where = place(name)
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(
            f"{where}: {name!r} can't name an action: an identifier such as 'gate' is needed, "
            "since the substeps are bound to the model as '<action>_on' and '<action>_off'"
        )
    for attribute in (name, f"{name}_on", f"{name}_off"):
        if hasattr(keras.Model, attribute):
            raise ConfigError(f"{where}: {attribute!r} shadows an attribute of keras.Model")
    _known_keys(_mapping(entry, where), ACTION_KEYS, where)
    cond = _callable(entry, "cond", where)
    branches = {
        branch: _substep(name, branch, entry[branch]) for branch in entry if branch != "cond"
    }
    if not branches:
        raise ConfigError(f"{where} has no branch: True, False or both are needed")
    return Action(name, cond, branches.get(True), branches.get(False))


def _substep(action: str, branch: bool, entry: Any) -> Substep:
    where = place(action, branch)
    _known_keys(_mapping(entry, where), BRANCH_KEYS, where)
    if "variables" in entry and "excluded_variables" in entry:
        raise ConfigError(f'{where} has both "variables" and "excluded_variables": give one')
    regularize = entry.get("regularize", False)
    if not isinstance(regularize, bool):
        raise ConfigError(f'{where}["regularize"] is {regularize!r}: True or False is needed')
    return Substep(
        action=action,
        branch=branch,
        loss=_loss(entry["loss"], f'{where}["loss"]') if "loss" in entry else None,
        compiled="loss" not in entry,
        regularize=regularize,
        variables=_callable(entry, "variables", where) if "variables" in entry else None,
        excluded_variables=(
            _callable(entry, "excluded_variables", where) if "excluded_variables" in entry else None
        ),
        clipping=_clipping(entry["clipping"], f'{where}["clipping"]')
        if "clipping" in entry
        else None,
    )


def _loss(value: Any, where: str) -> Callable[..., Any] | None:
    """One loss, or one per output, ready to be called with a sample weight; None for zero."""
    if value is None or value is False:
        return None
    if isinstance(value, Mapping):
        per_output = {key: _loss(loss, f"{where}[{key!r}]") for key, loss in value.items()}
    elif isinstance(value, list | tuple):
        per_output = dict(enumerate(_loss(loss, f"{where}[{i}]") for i, loss in enumerate(value)))
    else:
        return _single_loss(value, where)
    if not any(per_output.values()):
        raise ConfigError(f"{where} has no loss for any output: use None for zero data loss")
    return OutputLosses(per_output)


def _single_loss(value: Any, where: str) -> Callable[..., Any]:
    if isinstance(value, str):
        try:
            value = keras.losses.get(value)
        except ValueError:
            names = [name for name in dir(keras.losses) if not name.startswith("_")]
            raise ConfigError(
                f"{where} is {value!r}, which names no Keras loss.{closest(value, names)}"
            ) from None
    if isinstance(value, type):
        raise ConfigError(
            f"{where} is the class {value.__name__}: an instance is needed, e.g. {value.__name__}()"
        )
    if isinstance(value, keras.losses.Loss):
        loss: Callable[..., Any] = value
        return loss
    if callable(value):
        return FunctionLoss(value)
    raise ConfigError(
        f"{where} is {value!r}: a keras.losses.Loss, a function (y_true, y_pred), a Keras loss's "
        "name, a list or dict of these (one per output), or None/False for zero data loss is needed"
    )


def _clipping(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ConfigError(f"{where} is {value!r}: a pair (lo, hi) is needed, e.g. (-0.1, 0.1)")
    for bound in value:
        number = isinstance(bound, int | float) and not isinstance(bound, bool)
        if not number or not math.isfinite(bound):
            raise ConfigError(f"{where} is {value!r}: both bounds must be finite numbers")
    lower, upper = float(value[0]), float(value[1])
    if lower >= upper:
        hint = f" Did you mean ({value[1]!r}, {value[0]!r})?" if lower > upper else ""
        raise ConfigError(
            f"{where} is {value!r}: the lower bound must be below the upper one.{hint}"
        )
    return lower, upper


def _async(name: Any, entry: Any) -> AsyncAction:
    where = place(name, root="async_config")
    _known_keys(_mapping(entry, where), ASYNC_KEYS, where)
    cond = _callable(entry, "cond", where)
    if "model" not in entry and "callback" not in entry:
        raise ConfigError(f'{where} does nothing: "model", "callback" or both are needed')
    return AsyncAction(
        str(name),
        cond,
        _callable(entry, "model", where) if "model" in entry else None,
        _callable(entry, "callback", where) if "callback" in entry else None,
    )
