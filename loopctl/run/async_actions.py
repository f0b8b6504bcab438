"""Async actions, which run on the host between train steps, and what Python conditions return."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from loopctl.compile import Steps
from loopctl.config import AsyncAction, ConfigError, place


class Controlling(Protocol):
    """What is used of the callback whose async actions these are; they are called with it."""

    verbose: int

    @property
    def model(self) -> Any:
        """Which is trained."""

    @property
    def steps(self) -> Steps:
        """Compiled for `model`."""


def run_async(callback: Controlling, actions: Iterable[AsyncAction], when: str) -> None:
    """Runs those of `actions` whose condition holds; `when` is for the reader."""
    for action in actions:
        if as_bool(action.cond(callback), place(action.name, "cond", root="async_config")):
            if callback.verbose:
                print(f"\nloopctl: {action.name} {when}")  # noqa: T201  # `verbose` asks for it
            _apply(action, callback)


def _apply(action: AsyncAction, callback: Controlling) -> None:
    if action.model is not None:
        weights = list(callback.model.trainable_variables)
        before = [np.asarray(v) for v in weights] if action.reset_optimizer else []
        action.model(callback.model)
        pairs = zip(weights, before, strict=False)
        changed = [v for v, old in pairs if not np.array_equal(v, old, equal_nan=True)]
        if changed:
            callback.steps.optimizers.reset_slots(changed)
            callback.steps.remembered.forget(changed)
    if action.callback is not None:
        action.callback(callback)


def as_bool(value: Any, where: str) -> bool:
    """What a condition returned, if it is a boolean: Python's, NumPy's or a scalar tensor's."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if tf.is_tensor(value) and value.dtype == tf.bool and value.shape.rank == 0:
        return bool(value)
    raise ConfigError(f"{where} returned {value!r}: a bool is needed")
