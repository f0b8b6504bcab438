"""The entry "average" of a branch: what is averaged, from when on, and which model follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from loopctl.config.errors import ConfigError, check_keys
from loopctl.config.predicates import Condition

KEYS = ("decay", "start", "into", "of")

LayerChoice = Any
"""A layer or model, a function of the trained model that returns one, or its name."""


@dataclasses.dataclass(frozen=True)
class Average:
    """An exponential moving average of weights.

    `decay` is what remains of it in an update, from when `start` holds on. It is kept aside, or in
    the weights of `into`; then it is of the variables that the branch trains, or of the weights of
    `of`, moving statistics included.
    """

    decay: float
    start: Condition | None
    into: LayerChoice | None
    of: LayerChoice | None


def average(value: Any, where: str) -> Average:
    """The average that a branch's ``{"decay": ..., ...}`` means.

    Raises:
        ConfigError: naming what is wrong in it.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(
            f'{where} is {value!r}: a dict such as {{"decay": 0.999}} is needed, with "start" '
            '(a graph predicate), "into" and "of" (models) if needed'
        )
    check_keys(value, KEYS, where)
    decay = value.get("decay")
    number = isinstance(decay, int | float) and not isinstance(decay, bool)
    if decay is None or not number or not 0 <= decay < 1:
        raise ConfigError(
            f'{where}["decay"] is {decay!r}: a number from 0 to below 1 is needed, such as 0.999'
        )
    start = value.get("start")
    if start is not None and not isinstance(start, Condition):
        raise ConfigError(
            f'{where}["start"] is {start!r}: a graph predicate such as when.epochs >= 1 is needed'
        )
    into, of = (_choice(value.get(key), f'{where}["{key}"]') for key in ("into", "of"))
    if of is not None and into is None:
        raise ConfigError(f'{where} has "of", but not "into": which model is to follow?')
    return Average(float(decay), start, into, of)


def _choice(value: Any, where: str) -> LayerChoice | None:
    if value is None or isinstance(value, keras.layers.Layer | str) or callable(value):
        chosen: LayerChoice | None = value
        return chosen
    raise ConfigError(
        f"{where} is {value!r}: a layer or model, its name, or a function of the model that "
        "returns it is needed"
    )
