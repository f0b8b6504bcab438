"""What comes of a training of chapter 6's recipe, in whichever way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

COLUMNS = ("loss", "mae", "loss_delay", "gate", "delay")  # what every way keeps of each step


@dataclass
class Run:
    """A training from the same initial weights to convergence, or to the last epoch.

    `seconds`: in all; `epochs`: seconds of each; `regularized`: whether the regulariser was applied
    in its last step; `steps`: the values of each train step by name; `redrawn`: whether weights
    were drawn anew; `converged`: whether it stopped itself.
    """

    seconds: float
    epochs: list[float]
    regularized: list[bool]
    steps: dict[str, Array]
    redrawn: bool
    converged: bool

    def of(self, regularized: bool) -> list[float]:
        """Seconds of the epochs with or without the regulariser."""
        pairs = zip(self.epochs, self.regularized, strict=True)
        return [seconds for seconds, on in pairs if on == regularized]


def assign(variables: list[Any], values: list[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
