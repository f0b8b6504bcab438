"""A user's dict -> `ControlPlan`: every rule of validity that needs no model, and its error."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Mapping
from typing import Any

import keras

from loopctl.config import branch_values as values
from loopctl.config.averages import average
from loopctl.config.errors import ConfigError, check_keys, closest, place
from loopctl.config.loss_weights import loss_weights
from loopctl.config.optimizer_groups import OptimizerGroups, optimizer
from loopctl.config.per_example import check_company, per_example
from loopctl.config.plan import Action, AsyncAction, ControlPlan, Substep
from loopctl.config.predicates import Always, Number
from loopctl.config.rates import learning_rate
from loopctl_shared import plain_numbers

ACTION_KEYS = ("cond", True, False)
BRANCH_KEYS = (
    "loss",
    "loss_weights",
    "objective",
    "regularize",
    "inference",
    "variables",
    "excluded_variables",
    "ascend",
    "per_example",
    "gradients",
    "clipping",
    "optimizer",
    "learning_rate",
    "repeat",
    "accumulate",
    "average",
    "skip_nonfinite",
    "update_statistics",
)
ASYNC_KEYS = ("cond", "model", "callback", "when", "step", "reset_optimizer")
MOMENTS = ("epoch_end", "validation_end", "batch_end", "train_begin")


def parse(config: Any, async_config: Any = None) -> ControlPlan:
    """The plan of a config (SPEC 1.2) and an async config (1.3).

    Raises:
        ConfigError: naming the entry, what it is and what is allowed.
    """
    entries = plain_numbers(dict(_mapping(config, "config")))
    actions = tuple(_action(name, entry) for name, entry in entries.items())
    if not actions:
        raise ConfigError("config is empty: at least one action is needed")
    extra = _mapping({} if async_config is None else async_config, "async_config")
    return ControlPlan(actions, tuple(_async(name, entry) for name, entry in extra.items()))


def _mapping(value: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} is {value!r}: a dict is needed")
    return value


def _action(name: Any, entry: Any) -> Action:
    where = place(name)
    # It is written into source: a subclass of str could write something else, and Python reads
    # some letters, such as ligatures, as others.
    plain = type(name) is str and unicodedata.normalize("NFKC", name) == name
    if not plain or not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(
            f"{where}: {name!r} can't name an action: an identifier such as 'gate' is needed, "
            "since the substeps are bound to the model as '<action>_on' and '<action>_off'"
        )
    for attribute in (name, f"{name}_on", f"{name}_off"):
        if hasattr(keras.Model, attribute):
            raise ConfigError(f"{where}: {attribute!r} shadows an attribute of keras.Model")
    check_keys(_mapping(entry, where), ACTION_KEYS, where)
    if "cond" not in entry:
        raise ConfigError(f'{where} has no "cond": a callable or a graph predicate is needed')
    branches = {
        branch: _substep(name, branch, entry[branch]) for branch in entry if branch != "cond"
    }
    if not branches:
        raise ConfigError(f"{where} has no branch: True, False or both are needed")
    if isinstance(entry["cond"], Number):
        raise ConfigError(
            f'{where}["cond"] is {entry["cond"]!r}, a number: compare it with something, as in '
            f"{entry['cond'] < 1!r}"
        )
    if not callable(entry["cond"]):
        raise ConfigError(_no_condition(entry["cond"], f'{where}["cond"]'))
    cond = entry["cond"]
    return Action(name, cond, branches.get(True), branches.get(False))


def _substep(action: str, branch: bool, entry: Any) -> Substep:
    where = place(action, branch)
    check_keys(_mapping(entry, where), BRANCH_KEYS, where)
    if "variables" in entry and "excluded_variables" in entry:
        raise ConfigError(f'{where} has both "variables" and "excluded_variables": give one')
    if "loss" in entry and "objective" in entry:
        raise ConfigError(
            f'{where} has both "loss" and "objective": an objective computes the loss by itself'
        )
    if "loss_weights" in entry:
        _check_weights(entry, f'{where}["loss_weights"]')
    if entry.get("inference") is True and entry.get("update_statistics") is True:
        raise ConfigError(
            f'{where} has "inference": True, in which statistics are not updated, and '
            '"update_statistics": True: leave one out, or name the layers that are to run in '
            "inference mode"
        )
    check_company(entry, where)
    if "repeat" in entry and "accumulate" in entry:
        raise ConfigError(
            f'{where} has both "repeat" and "accumulate": the gradients of one batch need no mean'
        )

    def read(key: str, reader: Any, default: Any = None) -> Any:
        return reader(entry[key], f'{where}["{key}"]') if key in entry else default

    own, rates = read("optimizer", optimizer), read("learning_rate", learning_rate)
    if isinstance(own, OptimizerGroups) and rates is not None and not rates.factors:
        raise ConfigError(
            f'{where}["learning_rate"] is {entry["learning_rate"]!r}, one rate for the '
            f'{len(own.optimizers)} of "optimizer": set theirs, or give factors, such as '
            "{'*': 0.1}"
        )
    return Substep(
        action=action,
        branch=branch,
        loss=read("loss", values.loss),
        compiled="loss" not in entry and "objective" not in entry,
        loss_weights=read("loss_weights", loss_weights),
        objective=read("objective", values.function),
        regularize=read("regularize", values.layers, False),
        inference=read("inference", values.layers, False),
        variables=read("variables", values.selector),
        excluded_variables=read("excluded_variables", values.selector),
        ascend=read("ascend", values.ascent),
        per_example=read("per_example", per_example),
        gradients=read("gradients", values.function),
        clipping=read("clipping", values.clipping),
        optimizer=own,
        learning_rate=rates,
        repeat=read("repeat", values.count, 1),
        accumulate=read("accumulate", values.count, 1),
        average=read("average", average),
        skip_nonfinite=read("skip_nonfinite", values.flag, False),
        update_statistics=read("update_statistics", values.flag),
        says_regularize="regularize" in entry,
    )


def _check_weights(entry: Mapping[Any, Any], where: str) -> None:
    if "loss" in entry and (entry["loss"] is None or entry["loss"] is False):
        raise ConfigError(f'{where} has no loss to apply to: "loss" is {entry["loss"]!r}')
    if "objective" in entry and isinstance(entry["loss_weights"], list | tuple):
        raise ConfigError(
            f"{where} is a list, but parts of an objective have names: a dict such as "
            "{'penalty': 0.1}, or one weight, is needed"
        )


def _no_condition(value: Any, where: str) -> str:
    allowed = "a graph predicate, such as when.epochs >= 3, or a callable"
    told = f"{where} is {value!r}: {allowed} is needed"
    if value is True:
        return f"{told}. Did you mean when.always?"
    return f"{told}. Did you mean when.parse({value!r})?" if isinstance(value, str) else told


def _async(name: Any, entry: Any) -> AsyncAction:
    where = place(name, root="async_config")
    check_keys(_mapping(entry, where), ASYNC_KEYS, where)
    if "cond" not in entry and "step" not in entry:
        raise ConfigError(f'{where} has no "cond": a callable is needed')
    if "when" in entry and "step" in entry:
        raise ConfigError(f'{where} has both "when" and "step": give one')
    if "model" not in entry and "callback" not in entry:
        raise ConfigError(f'{where} does nothing: "model", "callback" or both are needed')
    moment = entry.get("when", "epoch_end")
    if moment not in MOMENTS:
        choices = ", ".join(map(repr, MOMENTS))
        raise ConfigError(
            f'{where}["when"] is {moment!r}: allowed are {choices}.{closest(moment, MOMENTS)}'
        )

    def read(key: str, default: Any = None) -> Any:
        return values.function(entry[key], f'{where}["{key}"]') if key in entry else default

    return AsyncAction(
        name=str(name),
        cond=read("cond", Always()),
        model=read("model"),
        callback=read("callback"),
        when="step" if "step" in entry else moment,
        step=values.graph_predicate(entry["step"], f'{where}["step"]') if "step" in entry else None,
        reset_optimizer=values.flag(
            entry.get("reset_optimizer", False), f'{where}["reset_optimizer"]'
        ),
    )
