"""What a learning rate that is a function is told by: its settings, and the rates that it makes.

A schedule of the user's own need not have a config, nor one that tells all: it is known by its
plain attributes then, and by its rates after so and so many steps. It may be made for so many steps
and no more, or for steps alone: where it raises, nothing is known of its rate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from verify.references.users_code import Untraced, running

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
    name = getattr(rate, "__name__", type(rate).__name__)
    if not isinstance(rate, Schedule):
        return {"class_name": name, "config": {"now": _told(name, _rate_of, rate)}}
    rates = {str(count): _told(name, rate_after, rate, count) for count in _COUNTS}
    return {"class_name": name, "config": _config(rate), "rates": rates}


def why_unrated(rate: Any) -> str:
    """Why nothing is known of a rate that is a function, where that has always raised an error."""
    told = told_rate(rate) if callable(rate) else {}
    every = [*told.get("rates", told.get("config", {})).values()]
    return every[0] if every and all(isinstance(one, str) for one in every) else ""


def _told(name: str, function: Callable[..., float | None], *given: Any) -> float | str | None:
    """A rate, or what has been raised instead."""
    try:
        return function(*given)
    except Untraced as why:
        return f"{name} raised {why}"


def rate_after(schedule: Any, steps: int) -> float | None:
    """The rate that a schedule makes after so many steps; None for what is no number.

    Raises:
        Untraced: it has raised an error.
    """
    rate = _rate_of(schedule, tf.constant(steps, tf.int64))
    return None if math.isnan(rate) else rate


def _rate_of(function: Any, *given: Any) -> float:
    with tf.init_scope(), running():
        return float(function(*given))


def counts_around_changes(schedule: Any, many: int) -> tuple[int, ...]:
    """Between which steps the rate changes most: pairs of counts, the greatest change first.

    As many counts as asked for, some of them again if need be; none where the rate stays.
    """
    known: dict[int, float | None] = {}

    def after(steps: int) -> float | None:
        if steps not in known:
            try:
                known[steps] = rate_after(schedule, steps) or 0.0
            except Untraced:
                known[steps] = None
        return known[steps]

    def change(between: tuple[int, int]) -> float:
        first, last = map(after, between)
        return 0.0 if first is None or last is None else abs(last - first)

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
