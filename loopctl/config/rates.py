"""The entry "learning_rate" of a branch: a rate of its own, or factors for groups of variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from loopctl.config.errors import ConfigError
from loopctl.config.predicates import Number

Rate = Any
"""A number, a schedule of Keras, or a number that is computed before every train step."""

_NEEDED = (
    "a number of at least 0, a schedule of keras.optimizers.schedules, a value of `when` such as "
    "when.linear(0.1, 0.0, over=1000), or a dict such as {'*/head/*': 10.0} of factors is needed"
)


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """At which rates a branch is trained.

    `rate` takes the place of the rate of the optimizer; None for that. `factors` are pairs of a
    glob over ``variable.path`` and what multiplies the rate of these variables.
    """

    rate: Rate | None
    factors: tuple[tuple[str, float | Number], ...]

    @property
    def expressions(self) -> dict[str, Number]:
        """What the graph evaluates, by the name that the source has for it."""
        found: dict[str, Any] = {rate_key(i): factor for i, (_, factor) in enumerate(self.factors)}
        found["learning_rate"] = self.rate
        return {key: one for key, one in found.items() if isinstance(one, Number)}

    def __str__(self) -> str:
        if self.factors:
            return ", ".join(f"{glob} × {_shown(factor)}" for glob, factor in self.factors)
        return _shown(self.rate)


def rate_key(place: int) -> str:
    """The name of the factor at a place among the factors."""
    return f"learning_rate_{place}"


def learning_rate(value: Any, where: str) -> LearningRate:
    """What a branch's learning rate means.

    Raises:
        ConfigError: naming what is wrong in it.
    """
    if isinstance(value, Mapping):
        if not value:
            raise ConfigError(f"{where} is {{}}: at least one glob is needed")
        for glob in value:
            if not isinstance(glob, str):
                raise ConfigError(
                    f"{where} has the key {glob!r}: a glob such as '*/head/*' is needed"
                )
        factors = ((str(glob), _factor(one, f"{where}[{glob!r}]")) for glob, one in value.items())
        return LearningRate(None, tuple(factors))
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule | Number):
        return LearningRate(value, ())
    number = _number(value)
    if number is None:
        raise ConfigError(f"{where} is {value!r}: {_NEEDED}")
    return LearningRate(number, ())


def _factor(value: Any, where: str) -> float | Number:
    if isinstance(value, Number):
        return value
    number = _number(value)
    if number is None:
        raise ConfigError(
            f"{where} is {value!r}: a factor is needed, a number of at least 0 or a value of "
            "`when`, by which the learning rate of these variables is multiplied"
        )
    return number


def _number(value: Any) -> float | None:
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and 0 <= value < float("inf") else None


def _shown(rate: Any) -> str:
    if isinstance(rate, float):
        return f"{rate:g}"
    return repr(rate) if isinstance(rate, Number) else type(rate).__name__
