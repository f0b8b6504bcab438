"""What a learning rate that is a function is told by: its settings, and the rates that it makes.

A schedule of the user's own need not have a config, nor one that tells all: it is known by its
plain attributes then, and by its rates after so and so many steps.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Schedule = keras.optimizers.schedules.LearningRateSchedule

_NUMBERS = bool | int | float | str
# Steps after which the rates of two schedules are held against each other: up to a million.
_COUNTS = tuple(sorted({round(1.5**k) - 1 for k in range(36)}))


def told_rate(rate: Any) -> Any:
    """A rate as settings tell it: a number, or the class and settings of a function."""
    if not callable(rate):
        return rate
    if type(rate).__module__.startswith("keras."):
        return keras.optimizers.schedules.serialize(rate)
    if not isinstance(rate, Schedule):
        with tf.init_scope():
            now = {"now": float(rate())}
        return {"class_name": getattr(rate, "__name__", type(rate).__name__), "config": now}
    rates = {str(count): rate_after(rate, count) for count in _COUNTS}
    return {"class_name": type(rate).__name__, "config": _config(rate), "rates": rates}


def rate_after(schedule: Any, steps: int) -> float | None:
    """The rate that a schedule makes after so many steps; None for what is no number."""
    with tf.init_scope():
        rate = float(schedule(tf.constant(steps, tf.int64)))
    return None if math.isnan(rate) else rate


def counts_around_changes(schedule: Any, many: int) -> tuple[int, ...]:
    """Between which steps the rate changes most: pairs of counts, the greatest change first.

    As many counts as asked for, some of them again if need be; none where the rate stays.
    """
    known: dict[int, float] = {}

    def after(steps: int) -> float:
        if steps not in known:
            known[steps] = rate_after(schedule, steps) or 0.0
        return known[steps]

    def change(between: tuple[int, int]) -> float:
        return abs(after(between[1]) - after(between[0]))

    found: list[int] = []
    for between in sorted(itertools.pairwise(_COUNTS), key=change, reverse=True)[: many // 2]:
        if not change(between):
            break
        first, last = between
        while last - first > 1:
            middle = (first + last) // 2
            first, last = max((first, middle), (middle, last), key=change)
        found += first, last
    return (*itertools.islice(itertools.cycle(found), many),)


def _config(schedule: Any) -> dict[str, Any]:
    try:
        return dict(schedule.get_config())
    except NotImplementedError:  # Keras' own class says so of one that does not override it
        own = {name: _plain(value) for name, value in vars(schedule).items()}
        return {name: told for name, told in own.items() if told is not None}


def _plain(value: Any) -> Any:
    """A number or a text, also of a tensor; None of anything else."""
    if isinstance(value, tf.Tensor | np.generic | np.ndarray) and value.shape == ():
        value = np.asarray(value).item()
    return value if isinstance(value, _NUMBERS) else None
