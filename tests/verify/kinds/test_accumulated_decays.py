"""`accumulated=`: what changes a variable in the calls between two updates, and why."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.verify.kinds.test_accumulated import descend, summed, told_of

CALLS = 2  # so that each call between is one after an update


def due(seen: Any) -> Any:
    return seen >= CALLS


def with_each_call(change: Callable[[Any], None], first: bool) -> Any:
    """Changes a variable in each call, before or after what is accumulated is applied."""
    applied = summed(mean=lambda total: total / CALLS, due=due)

    def apply(gradient: Any, variable: Any) -> None:
        if first:
            change(variable.value)
        applied(gradient, variable)
        if not first:
            change(variable.value)

    return apply


def decay(variable: Any) -> None:
    variable.assign_sub(1e-5 * variable)


def bound(variable: Any) -> None:
    variable.assign(tf.clip_by_value(variable, -0.1, 0.1))


def unit_norm(variable: Any) -> None:
    variable.assign(keras.constraints.UnitNorm()(variable))


def decayed_with_the_update(gradient: Any, variable: Any) -> None:
    variable.value.assign_sub(1e-3 * variable.value)
    descend(gradient, variable)


RIGHT = {
    "bounded first": with_each_call(bound, first=True),
    "bounded last": with_each_call(bound, first=False),
    "unit norm first": with_each_call(unit_norm, first=True),
    "unit norm last": with_each_call(unit_norm, first=False),
    "decay with the update": summed(
        decayed_with_the_update, mean=lambda total: total / CALLS, due=due
    ),
    "keras": keras.optimizers.AdamW(0.01, gradient_accumulation_steps=CALLS),
}
WRONG = {
    "decay first": with_each_call(decay, first=True),  # keras-team/keras#19990
    "decay last": with_each_call(decay, first=False),
}


@functools.cache
def told() -> dict[str, str]:
    return told_of(RIGHT | WRONG, CALLS)


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_kept_is_changed_once(name: str) -> None:
    assert told()[name] == ""


@pytest.mark.parametrize("name", WRONG)
def test_what_each_call_changes_further_is_told(name: str) -> None:
    assert "in each of the calls between it is changed without one" in told()[name]
