"""The entry "per_example" of a branch: how gradients of single examples are clipped and blurred."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from loopctl.config.errors import ConfigError, check_keys
from loopctl.config.predicates import Number

KEYS = ("clip", "noise")


@dataclasses.dataclass(frozen=True)
class PerExample:
    """The gradient of each example is clipped to the global norm `clip`, and noise of standard
    deviation `noise` * `clip` is added to their sum."""

    clip: float | Number
    noise: float | Number

    @property
    def expressions(self) -> dict[str, Number]:
        """What the graph evaluates, by its name in the source."""
        given = {"clip": self.clip, "noise": self.noise}
        return {key: value for key, value in given.items() if isinstance(value, Number)}

    @property
    def noisy(self) -> bool:
        """Whether there may be noise."""
        return isinstance(self.noise, Number) or self.noise > 0

    def __str__(self) -> str:
        noise = f", noise of {_told(self.noise)} times that" if self.noisy else ""
        return f"each example's clipped to {_told(self.clip)}{noise}"


def _told(value: float | Number) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def per_example(value: Any, where: str) -> PerExample:
    """What a branch's ``{"clip": c, "noise": s}`` means.

    Raises:
        ConfigError: naming what is wrong in it.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(
            f'{where} is {value!r}: a dict such as {{"clip": 1.0, "noise": 1.1}} is needed'
        )
    check_keys(value, KEYS, where)
    clip: Any = value.get("clip")
    noise: Any = value.get("noise", 0)
    if not isinstance(clip, Number) and not (_is_number(clip) and clip > 0):
        raise ConfigError(
            f'{where}["clip"] is {clip!r}: a positive number, such as 1.0, or a value of `when` is '
            "needed"
        )
    if not isinstance(noise, Number) and not (_is_number(noise) and noise >= 0):
        raise ConfigError(
            f'{where}["noise"] is {noise!r}: a number of at least 0, such as 1.1, or a value of '
            "`when` is needed"
        )
    return PerExample(_value(clip), _value(noise))


def _value(given: Any) -> float | Number:
    return given if isinstance(given, Number) else float(given)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def check_company(entry: Mapping[Any, Any], where: str) -> None:
    """Whether the other keys of a branch go together with this one.

    Raises:
        ConfigError: naming the one that does not.
    """
    if "per_example" not in entry:
        return
    if "objective" in entry:
        raise ConfigError(
            f'{where} has both "per_example" and "objective": an objective is of a batch, and may '
            'mix its examples: give a "loss"'
        )
    if "ascend" in entry:
        raise ConfigError(
            f'{where} has both "per_example" and "ascend": gradients that are not clipped would '
            "decide where to go uphill: leave one out"
        )
    if "loss" in entry and (entry["loss"] is None or entry["loss"] is False):
        raise ConfigError(
            f'{where} has "per_example", but there is no loss of an example: "loss" is '
            f"{entry['loss']!r}"
        )
