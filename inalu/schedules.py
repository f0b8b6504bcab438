"""How the strength of a layer's regulariser changes over train steps, for `inalu.papers`."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

__all__ = ["Ramp", "staircase"]


@keras.saving.register_keras_serializable(package="inalu")
class Ramp(keras.optimizers.schedules.LearningRateSchedule):
    """Nothing until a step, then growing evenly to its full scale, which is kept.

    ``scale * clip((step - start) / (end - start), 0, 1)``.

    Args:
        scale: reached at `end`.
        start, end: train steps, start < end.

    Raises:
        ValueError: start is not below end.

    Source: Madsen and Johansen, "Neural Arithmetic Units", 2020.
    """

    def __init__(self, scale: float, start: int, end: int) -> None:
        super().__init__()
        if not start < end:
            raise ValueError(f"Ramp: start is {start} and end {end}, expected start < end.")
        self.scale, self.start, self.end = scale, start, end

    def __call__(self, step: Any) -> Any:
        done = (ops.cast(step, "float32") - self.start) / (self.end - self.start)
        return self.scale * ops.clip(done, 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "start": self.start, "end": self.end}


def staircase(
    first: float, last: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """A schedule that multiplies by ten every so many train steps until it is at `last`.

    Where it begins there, a number.

    Args:
        first, last: powers of ten, 0 < first <= last.
        steps: between two values, at least 1.

    Raises:
        ValueError: first, last or steps is out of range.

    Source: Heim, Pevný and Šmídl, "Neural Power Units", 2020.
    """
    if not 0 < first <= last < math.inf:
        raise ValueError(
            f"staircase: first is {first} and last {last}, expected 0 < first <= last."
        )
    if steps < 1:
        raise ValueError(f"staircase: steps is {steps}, expected at least 1.")
    values = [first]
    while values[-1] * 5 < last:
        values.append(values[-1] * 10)
    # A value holds up to and with its boundary.
    boundaries = [steps * i - 1 for i in range(1, len(values))]
    if not boundaries:
        return first
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
