"""Plain descent whose rate depends on the step: a schedule that is spelled by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.updates import BATCH, Seen, rejected, step_of

optim = keras.optimizers


class Warm(optim.schedules.LearningRateSchedule):
    """No config."""

    def __call__(self, step: Any) -> Any:
        return 0.1 * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1.0) / 100.0)


def counted() -> tuple[tf.Variable, Callable[[], Any]]:
    """A count of steps, and the rate after so many."""
    steps = tf.Variable(0, trainable=False, dtype=tf.int64)
    return steps, lambda: Warm()(steps)


STEPS, RATE = counted()

# Of each, what the rate multiplies is the gradient, or what has been made of it before.
BY_SCHEDULE: dict[str, Callable[[Any, Any], Any]] = {
    "rate_first": lambda g, v: v.value.assign_sub(RATE() * g),
    "gradient_first": lambda g, v: v.value.assign_sub(g * RATE()),
    "subtracted": lambda g, v: v.value.assign(v.value - RATE() * g),
    "in_parts": lambda g, v: v.value.assign_sub(0.1 * (g * (RATE() / 0.1))),
    "divided": lambda g, v: v.value.assign_sub(g / (1.0 / RATE())),
    "added": lambda g, v: v.value.assign_add(-RATE() * g),
    "by_autograph_free_branch": lambda g, v: v.value.assign_sub(
        tf.where(STEPS < 99, (tf.cast(STEPS, tf.float32) + 1.0) / 1000.0, 0.1) * g
    ),
}
# Another schedule, or none.
OTHERS: dict[str, Callable[[Any, Any], Any]] = {
    "one_late": lambda g, v: v.value.assign_sub(Warm()(STEPS - 1) * g),
    "twice": lambda g, v: v.value.assign_sub(2.0 * RATE() * g),
    "uphill": lambda g, v: v.value.assign_add(RATE() * g),
    "constant": lambda g, v: v.value.assign_sub(0.1 * g),
}
# By the same schedule, of something that is made of the gradient.
TREATED: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "normalised": ("other", lambda g, v: v.value.assign_sub(RATE() * (g / tf.norm(g)))),
    "squashed": ("other", lambda g, v: v.value.assign_sub(RATE() * tf.tanh(g))),
    "clipped": ("norm", lambda g, v: v.value.assign_sub(RATE() * tf.clip_by_norm(g, 0.5))),
}
EVERY = BY_SCHEDULE | OTHERS | {name: write for name, (_, write) in TREATED.items()}


@pytest.fixture(scope="module", params=[(2, 3), (2, 1), (2, 1, 1)])
def seen(request: pytest.FixtureRequest) -> Seen:
    if len(request.param) == 3:  # of one element, beside others that go down at the same rate
        return Seen(single())
    return Seen(step_of(EVERY, request.param))


def single() -> Any:
    """As `step_of`, of variables of one number each."""
    variables = {name: keras.Variable(tf.ones((1,)), name=name) for name in EVERY}

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            losses = [tf.reduce_mean((x[:, :1] * v.value - 1.0) ** 2) for v in variables.values()]
            loss = tf.add_n(losses)
        gradients = tape.gradient(loss, [v.value for v in variables.values()])
        for (name, variable), gradient in zip(variables.items(), gradients, strict=True):
            EVERY[name](gradient, variable)

    return train


@pytest.mark.parametrize("name", BY_SCHEDULE)
def test_a_schedule_by_hand_is_the_rate(name: str, seen: Seen) -> None:
    rule = seen.rule(name)
    assert (rule.optimizer, rule.rate, rule.place) == (None, None, 0)
    assert seen.treatment(name).kind == "same"
    rates = dict(rule.rates)
    assert (rates[0], rates[4095]) == (pytest.approx(0.001), pytest.approx(0.1))
    assert seen.is_as(name, optim.SGD(Warm()))


@pytest.mark.parametrize("name", OTHERS)
def test_another_one_is_not(name: str, seen: Seen) -> None:
    assert not seen.is_as(name, optim.SGD(Warm()))
    if seen.updates[name].variable.shape != (1,):  # of one number, no other goes down so
        assert (seen.rule(name).rate is None) == (name != "constant")


@pytest.mark.parametrize("name", TREATED)
def test_what_is_done_before_the_rate_of_a_schedule(name: str, seen: Seen) -> None:
    treatment = seen.treatment(name)
    assert treatment.kind != "same"
    assert treatment.limits
    if seen.updates[name].variable.shape == (2, 3):
        assert treatment.kind == TREATED[name][0]
        assert seen.is_as(name, optim.SGD(Warm()))


def by_hand(*names: str) -> Any:
    return step_of({name: EVERY[name] for name in names})


def test_what_is_said_of_a_schedule_by_hand() -> None:
    right = by_hand("rate_first", "in_parts")
    verify.assert_graph(right, BATCH, learning_rate=Warm(), clipping=None)
    verify.assert_graph(right, BATCH, optimizer=optim.SGD(Warm()))
    assert "(learning_rate=of the step)" in str(verify.facts(right, BATCH))
    late = by_hand("rate_first", "one_late")
    for asked in ({"learning_rate": Warm()}, {"optimizer": optim.SGD(Warm())}):
        told = rejected(late, BATCH, **asked)
        assert "found    SGD(learning_rate=of the step): one_late" in told
        assert "after 0 steps it is 0, expected 0.001" in told
        assert "rate_first" not in told.partition("\n     see")[0]


def test_a_clip_before_the_rate_of_a_schedule() -> None:
    clipped = by_hand("clipped")
    verify.assert_graph(clipped, BATCH, clipping={"norm": 0.5}, learning_rate=Warm())
    assert "not clipped" in rejected(by_hand("rate_first"), BATCH, clipping={"norm": 0.5})


@pytest.mark.parametrize("boundary", [12, 500, 998, 999, 1000, 3000, 700_000])
def test_where_a_schedule_by_hand_changes(boundary: int, stepwise: Seen) -> None:
    schedule = optim.schedules.PiecewiseConstantDecay([boundary], [0.1, 0.01])
    assert stepwise.is_as("plain", optim.SGD(schedule)) == (boundary == 999)
    assert stepwise.is_as("momentum", optim.SGD(schedule, 0.9)) == (boundary == 999)


@pytest.fixture(scope="module")
def stepwise() -> Seen:
    def rate() -> Any:
        return tf.where(STEPS < 1000, 0.1, 0.01)

    kept = tf.Variable(tf.zeros((2, 3)), trainable=False)

    def by_momentum(gradient: Any, variable: Any) -> None:
        kept.assign(0.9 * kept - rate() * gradient)
        variable.value.assign_add(kept)

    return Seen(
        step_of({"plain": lambda g, v: v.value.assign_sub(rate() * g), "momentum": by_momentum})
    )


def test_steps_may_be_counted_in_real_numbers() -> None:
    steps = tf.Variable(0.0, trainable=False)
    slow = tf.Variable(tf.zeros((2, 3)), trainable=False, name="slow")
    rate = tf.Variable(0.1, trainable=False)  # a number that grows by less is no count

    def by_count(gradient: Any, variable: Any) -> None:
        variable.value.assign_sub(Warm()(steps) * gradient)
        slow.assign_add((variable.value - slow) / (steps + 1.0))
        steps.assign_add(1.0)

    def by_rate(gradient: Any, variable: Any) -> None:
        variable.value.assign_sub(rate * gradient)
        rate.assign_add(0.001)

    train = step_of({"counted": by_count, "growing": by_rate})
    verify.assert_graph(train, BATCH, learning_rate={"counted": Warm(), "growing": 0.1})
    verify.assert_graph(train, BATCH, follows={"slow": ("counted", None)})
    assert "a rate of the step" in rejected(train, BATCH, follows={"slow": ("counted", 1.0)})


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.96])
@pytest.mark.parametrize("steps", [100, 1000, 100_000])
def test_a_rate_that_comes_to_less_than_rounding(steps: int, decay: float) -> None:
    """After hundreds of thousands of steps, when next to nothing is left of some."""
    count = tf.Variable(0, trainable=False, dtype=tf.int64)

    def apply(gradient: Any, variable: Any) -> None:
        done = tf.cast(count, tf.float32) / steps
        variable.assign_sub(0.1 * decay**done * gradient)

    step = step_of({"weight": apply})
    schedule = optim.schedules.ExponentialDecay(0.1, steps, decay)
    verify.assert_graph(step, BATCH, learning_rate=schedule)
    other = optim.schedules.ExponentialDecay(0.1, 2 * steps, decay)
    assert "expected ExponentialDecay" in rejected(step, BATCH, learning_rate=other)
