"""The entry "loss_weights" of a branch: what the losses of outputs, or parts of them, count."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl.config.errors import ConfigError
from loopctl.config.predicates import Number

Weight = Any
"""A number, one that is computed before every train step, or a scalar variable."""


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights in the order in which they are given.

    One alone is for all losses; `names` are those of outputs, or of parts of an objective, if they
    were given by name.
    """

    weights: tuple[Weight, ...]
    names: tuple[str, ...] | None
    alone: bool

    @property
    def expressions(self) -> dict[str, Number]:
        """What the graph evaluates, by the name that the source has for it."""
        pairs = ((weight_key(i), weight) for i, weight in enumerate(self.weights))
        return {key: weight for key, weight in pairs if isinstance(weight, Number)}

    def __str__(self) -> str:
        shown = [_shown(weight) for weight in self.weights]
        if self.names is None:
            return ", ".join(shown)
        return ", ".join(f"{name}: {one}" for name, one in zip(self.names, shown, strict=True))


def weight_key(place: int) -> str:
    """The name of the weight at a place among the weights."""
    return f"loss_weight_{place}"


def loss_weights(value: Any, where: str) -> LossWeights:
    """What a branch's weights of losses mean.

    Raises:
        ConfigError: naming what is wrong in them.
    """
    if isinstance(value, Mapping | list | tuple) and not value:
        raise ConfigError(f"{where} is {value!r}: at least one weight is needed")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ConfigError(
                    f"{where} has the key {name!r}: the name of an output, or of a part of an "
                    "objective, is needed"
                )
        weights = (_weight(one, f"{where}[{name!r}]") for name, one in value.items())
        return LossWeights(tuple(weights), tuple(map(str, value)), alone=False)
    if isinstance(value, list | tuple):
        weights = (_weight(one, f"{where}[{i}]") for i, one in enumerate(value))
        return LossWeights(tuple(weights), None, alone=False)
    return LossWeights((_weight(value, where),), None, alone=True)


def _weight(value: Any, where: str) -> Weight:
    variable = isinstance(value, keras.Variable | tf.Variable)
    if isinstance(value, Number) or (variable and len(value.shape) == 0):
        return value
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise ConfigError(
            f"{where} is {value!r}: a finite number, a value of `when` such as "
            "when.linear(0, 1, over=1000), a scalar variable, or these by output is needed"
        )
    return float(value)


def _shown(weight: Weight) -> str:
    if isinstance(weight, float):
        return f"{weight:g}"
    return repr(weight) if isinstance(weight, Number) else str(weight.name)
