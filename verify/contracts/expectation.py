"""What a contract says -> the `Expectation` that is checked."""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Any

import keras

from verify.contracts.files import ContractError
from verify.contracts.schema import Expected, Loss, Norm, Term
from verify.expect import UNSET, Expectation


def expectation(place: str, expected: Expected) -> Expectation:
    """The expectation that a contract spells.

    Raises:
        ContractError: a loss or regulariser that is nowhere to be found, or not with such settings.
    """
    said = expected.model_fields_set
    settings: dict[str, Any] = {
        name: getattr(expected, name)
        for name in (
            "watched", "unwatched", "decayed", "forbids", "max_ops", "max_bytes", "allow_writes"
        )
        if name in said
    }  # fmt: skip
    if "loss" in said:
        settings["loss"] = _losses(f"{place}.loss", expected.loss)
    if "regularization" in said:
        settings["regularization"] = _terms(f"{place}.regularization", expected.regularization)
    if "clipping" in said:
        settings["clipping"] = _clipping(expected.clipping)
    if "guards" in said:
        settings["guards"] = _guards(f"{place}.guards", expected.guards)
    return Expectation(**{name: UNSET if v is None and name not in _NONE else v
                          for name, v in settings.items()})  # fmt: skip


_NONE = {"loss", "clipping", "guards"}  # keywords that None says something to


def _losses(place: str, said: Any) -> Any:
    if said is False or said is None:
        return None
    return [_loss(place, one) for one in (said if isinstance(said, list) else [said])]


def _loss(place: str, said: str | Loss) -> Any:
    name, settings, weight = (
        (said, {}, 1.0)
        if isinstance(said, str)
        else (said.is_, said.model_extra or {}, said.weight)
    )
    if ":" in name:
        found = imported(place, name)
        made = _made(place, found, settings) if inspect.isclass(found) or settings else found
    elif settings or hasattr(keras.losses, name):
        made = _made(place, _of_keras(place, keras.losses, name), settings)
    else:
        try:
            keras.losses.get(name)
        except ValueError:
            raise ContractError(f"{place}: Keras has no loss {name!r}") from None
        made = name
    return (made, float(weight))


def _terms(place: str, said: Any) -> Any:
    if not isinstance(said, list):
        return said
    return [(glob, _regulariser(place, term)) for term in said for glob in _listed(term.on)]


def _listed(globs: str | list[str]) -> list[Any]:
    return [globs] if isinstance(globs, str) else list(globs)


def _regulariser(place: str, term: Term) -> Any:
    settings = term.model_extra or {}
    if ":" in term.is_:
        found = imported(place, term.is_)
        return _made(place, found, settings) if inspect.isclass(found) or settings else found
    return _made(place, _of_keras(place, keras.regularizers, term.is_), settings)


def _clipping(said: Any) -> Any:
    if said is False or said is None:
        return None
    if isinstance(said, list):
        return (float(said[0]), float(said[1]))
    return {"norm": said.norm} if isinstance(said, Norm) else {"global_norm": said.global_norm}


def _guards(place: str, said: Any) -> Any:
    if said is False or said is None:
        return None
    return {
        variable: {
            _value(f"{place}.{variable}", value): expectation(f"{place}.{variable}.{value}", there)
            for value, there in choices.items()
        }
        for variable, choices in said.items()
    }


def _value(place: str, text: str) -> bool | int:
    """The value of a control variable: TOML's keys are texts."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        raise ContractError(f"{place}.{text}: a value is true, false or a whole number") from None


def _of_keras(place: str, module: Any, name: str) -> Any:
    found = getattr(module, name, None)
    if not inspect.isclass(found) and not inspect.isfunction(found):
        raise ContractError(f"{place}: Keras has no {module.__name__.rpartition('.')[2]}.{name}")
    return found


def _made(place: str, kind: Any, settings: dict[str, Any]) -> Any:
    """The object a contract means: one for all contracts, so that its graph is traced once."""
    if not inspect.isclass(kind) and not settings:
        return kind
    key = (kind, json.dumps(settings, sort_keys=True, default=repr))
    if key not in _MADE:
        try:
            _MADE[key] = kind(**settings)
        except (TypeError, ValueError) as error:
            raise ContractError(f"{place}: {kind.__name__} with {settings}: {error}") from None
    return _MADE[key]


_MADE: dict[tuple[Any, str], Any] = {}


def imported(place: str, name: str) -> Any:
    """What ``package.module:attribute`` is.

    Raises:
        ContractError: no such module, one that fails when it is imported, no such attribute.
    """
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {error}"
        raise ContractError(f"{place}: {module} can't be imported: {told}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ContractError(f"{place}: {module} has no {attribute}")
        found = getattr(found, part)
    return found
