"""Learning rates between two numbers: of what is asked, and of optimizers at any rate between."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from verify.references import another

_CLOSE = 1e-5  # of a rate: what is kept in half the precision it was written in


@dataclasses.dataclass(frozen=True)
class Rates:
    """From `least` to `most`."""

    least: float
    most: float

    def __contains__(self, rate: object) -> bool:
        low, high = self.least - _CLOSE * abs(self.least), self.most + _CLOSE * abs(self.most)
        return isinstance(rate, int | float) and low <= rate <= high

    def __str__(self) -> str:
        return f"{self.least:.6g} to {self.most:.6g}"


@dataclasses.dataclass(frozen=True)
class AtRates:
    """An optimizer at any of some rates; its own is one of them."""

    optimizer: Any
    rates: Rates
    _made: dict[float, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def at(self, rate: float) -> Any:
        """It at this rate: one for all updates, since what it makes is traced."""
        if rate not in self._made:
            self._made[rate] = another(self.optimizer, learning_rate=rate)
        return self._made[rate]


def is_pair(said: Any) -> bool:
    """Whether something is spelt as rates between two numbers are."""
    return isinstance(said, list | tuple)


def rates_of(said: Any, keyword: str) -> Rates:
    """Rates from two numbers.

    Raises:
        TypeError: they are none, or the first is larger.
    """
    numbers = [one for one in said if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) != len(said) or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1]:
        raise TypeError(f"{keyword}: {said!r} are no two numbers, 0 <= least <= most")
    return Rates(float(numbers[0]), float(numbers[1]))


def lowest(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], Rates | None]:
    """The config of an optimizer at the lowest of the rates that it may have, and these, if any."""
    settings = config.get("config", {})
    if not is_pair(said := settings.get("learning_rate")):
        return config, None
    rates = rates_of(said, "optimizer: learning_rate")
    return {**config, "config": {**settings, "learning_rate": rates.least}}, rates
