"""Learning rates that are functions: Keras' schedules, and a user's own without a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from verify.references import (
    counts_around_changes,
    has_schedule,
    optimizer_name,
    optimizer_settings,
    optimizer_state,
    other_settings,
    rate_after,
    same_settings,
    schedule_name,
    schedule_of,
    stand_in,
    why_unrated,
)

optim = keras.optimizers


class Noam(optim.schedules.LearningRateSchedule):
    """As in tutorials: it has no `get_config`, and its width is a tensor."""

    def __init__(self, width: int, warmup: int = 4000, scale: Callable[[], float] = float) -> None:
        super().__init__()
        self.width, self.warmup = tf.cast(width, tf.float32), warmup
        self.scale = scale  # told by nothing but the rates

    def __call__(self, step: Any) -> Any:
        after = tf.cast(step, tf.float32) + 1.0
        warming = after * self.warmup**-1.5
        rate = tf.math.rsqrt(self.width) * tf.minimum(tf.math.rsqrt(after), warming)
        return (1.0 + self.scale()) * rate


class Told(Noam):
    """A class with a config that Keras can't make again, and that does not tell all."""

    def get_config(self) -> dict[str, Any]:
        return {"warmup": self.warmup}


SAME = {
    "the same": (Noam(64), True),
    "another width": (Noam(32), False),
    "another warm-up": (Noam(64, 400), False),
    "other rates": (Noam(64, scale=lambda: 1.0), False),
    "another class": (Told(64), False),
}


@pytest.mark.parametrize("case", SAME)
def test_schedules_without_a_config_are_held_against_each_other(case: str) -> None:
    other, same = SAME[case]
    assert has_schedule(optim.Adam(Noam(64)), other) == same
    assert same_settings(optim.Adam(Noam(64)), optim.Adam(other)) == same


def test_the_state_of_an_optimizer_tells_the_rates_of_its_schedule() -> None:
    scale = tf.Variable(0.0)
    optimizer = optim.SGD(Noam(64, scale=lambda: float(scale)))
    before = optimizer_state(optimizer)
    assert optimizer_state(optimizer) == before
    scale.assign(1.0)
    assert optimizer_state(optimizer) != before


def test_a_config_that_does_not_tell_all() -> None:
    assert has_schedule(optim.SGD(Told(64)), Told(64))
    assert not has_schedule(optim.SGD(Told(64)), Told(32))


def test_they_are_told_by_their_plain_attributes() -> None:
    assert schedule_name(Noam(64)) == "Noam(width=64, warmup=4000)"
    assert optimizer_name(optim.SGD(Told(64))) == "SGD(learning_rate=Told(warmup=4000))"
    differences = other_settings(optim.SGD(Noam(64)), optim.SGD(Noam(64, 8)))
    assert differences == (
        ("learning_rate", "Noam(width=64, warmup=4000)", "Noam(width=64, warmup=8)"),
    )


@pytest.mark.parametrize("rate", [Noam(64), Told(64), lambda: 0.5])
def test_an_optimizer_with_one_has_a_stand_in(rate: Any) -> None:
    """Private to Keras, where the rate is kept: this fails if that moves."""
    optimizer = optim.Adam(rate, beta_2=0.98)
    made = stand_in(optimizer, ["w"], [(2, 3)])
    assert made is not None
    assert optimizer_settings(optimizer)["beta_2"] == 0.98
    assert schedule_of(optimizer) is (rate if isinstance(rate, Noam) else None)


def test_a_function_is_told_by_the_rate_that_it_makes_now() -> None:
    def halved() -> float:
        return 0.5

    assert optimizer_name(optim.SGD(halved)) == "SGD(learning_rate=halved(now=0.5))"
    assert same_settings(optim.SGD(lambda: 0.1), optim.SGD(lambda: 0.1))
    assert not same_settings(optim.SGD(lambda: 0.1), optim.SGD(lambda: 0.2))


def test_a_rate_after_some_steps() -> None:
    assert rate_after(optim.schedules.PiecewiseConstantDecay([3], [0.1, 0.01]), 4) == (
        pytest.approx(0.01)
    )

    class Undefined(Noam):
        def __call__(self, step: Any) -> Any:
            return tf.constant(float("nan"))

    assert rate_after(Undefined(1), 4) is None
    assert has_schedule(optim.SGD(Undefined(1)), Undefined(1))


class Table(Noam):
    """Rates of so many steps, and none of those that follow."""

    def __init__(self, *rates: float) -> None:
        super().__init__(1)
        self.rates = rates

    def __call__(self, step: Any) -> Any:
        return tf.constant(self.rates)[int(step)]


def test_where_a_schedule_raises_others_decide() -> None:
    assert same_settings(optim.SGD(Table(0.1, 0.2, 0.3)), optim.SGD(Table(0.1, 0.2, 0.3)))
    assert not same_settings(optim.SGD(Table(0.1, 0.2, 0.3)), optim.SGD(Table(0.1, 0.2, 0.4)))
    assert counts_around_changes(Table(0.1, 0.1, 0.3), 2) == (1, 2)
    assert why_unrated(Table(0.1)) == ""


def test_of_a_rate_that_always_raises_nothing_is_known() -> None:
    def missing() -> float:
        raise KeyError("rate")

    assert why_unrated(Table()).startswith("Table raised InvalidArgumentError: ")
    assert why_unrated(missing) == "missing raised KeyError: 'rate'"
    assert optimizer_name(optim.SGD(Table())) == "SGD(learning_rate=Table(width=1, warmup=4000))"


@pytest.mark.parametrize("boundaries", [[3], [100, 30_000], [1, 2, 640_000]])
def test_counts_on_both_sides_of_each_change(boundaries: list[int]) -> None:
    rates = [0.1 / 2**n for n in range(len(boundaries) + 1)]
    schedule = optim.schedules.PiecewiseConstantDecay(boundaries, rates)
    counts = counts_around_changes(schedule, 8)
    assert len(counts) == 8
    assert set(counts) == {n + side for n in boundaries for side in (0, 1)}


def test_a_rate_that_stays_has_no_counts() -> None:
    assert counts_around_changes(optim.schedules.ExponentialDecay(0.1, 10, 1.0), 8) == ()


class Signs(optim.Optimizer):
    """An optimizer of one's own, whose config does not tell its share."""

    def __init__(self, learning_rate: float = 0.1, share: float = 0.9) -> None:
        super().__init__(learning_rate=learning_rate)
        self.share = share


def test_settings_that_a_config_of_ones_own_does_not_tell() -> None:
    assert optimizer_name(Signs()) == "Signs(learning_rate=0.1)"
    assert optimizer_name(Signs(share=0.5)) == "Signs(learning_rate=0.1, share=0.5)"
    assert same_settings(Signs(), Signs())
    assert other_settings(Signs(share=0.5), Signs()) == (("share", "0.5", "0.9"),)
    assert stand_in(Signs(), ["w"], [(2, 3)]) is None  # no `weight_decay` can be given to it
