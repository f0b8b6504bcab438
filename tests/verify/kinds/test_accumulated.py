"""`accumulated=`: of how many calls gradients are averaged, however that is written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import Asked, batch, dense
from tests.verify.updates import BATCH, Apply, rejected, step_of
from verify.assertions import Expectation
from verify.find import Detector
from verify.kinds import KEYWORDS
from verify.step import capture

optim = keras.optimizers
CALLS = 3
RATE = tf.Variable(0.25, trainable=False, name="rate")
SHAPE = (2, 3)


def held(first: Any = 0, **settings: Any) -> tf.Variable:
    return tf.Variable(first, trainable=False, **settings)


def when(due: Any, made: Callable[[], Any], otherwise: Callable[[], Any] = lambda: None) -> None:
    def branch(function: Callable[[], Any]) -> Callable[[], int]:
        return lambda: (function(), 0)[1]

    tf.cond(due, branch(made), branch(otherwise))


def descend(gradient: Any, variable: Any) -> None:
    variable.value.assign_sub(0.1 * gradient)


def descend_at_rate(gradient: Any, variable: Any) -> None:
    variable.value.assign_sub(RATE * gradient)


def descend_and_decay(gradient: Any, variable: Any) -> None:
    variable.value.assign_sub(0.001 * variable.value)
    variable.value.assign_sub(0.1 * gradient / CALLS)


def summed(
    update: Apply = descend,
    mean: Callable[[Any], Any] = lambda total: total / CALLS,
    first: float | None = 0.0,
    seen_first: int = 0,
    due: Callable[[Any], Any] = lambda seen: seen >= CALLS,
) -> Apply:
    """Adds gradients up, and updates by their mean in a branch of its own."""
    total, seen = held(tf.zeros(SHAPE)), held()

    def apply(gradient: Any, variable: Any) -> None:
        total.assign_add(gradient)
        seen.assign_add(1)

        def made() -> None:
            update(mean(total.read_value()), variable)
            if first is not None:
                total.assign(tf.fill(SHAPE, first))
            seen.assign(seen_first)

        when(due(seen.read_value()), made)

    return apply


def by(optimizer: Any, **settings: Any) -> Apply:
    """The same by an optimizer of Keras, of which each variable has its own."""

    def update(gradient: Any, variable: Any) -> None:
        with tf.init_scope():
            optimizer.build([variable])
        optimizer.apply([gradient], [variable])

    return summed(update, **settings)


def each_divided(apply: Apply) -> Apply:
    return lambda gradient, variable: apply(gradient / CALLS, variable)


def adam_by_hand() -> Apply:
    mean, square, steps = held(tf.zeros(SHAPE)), held(tf.zeros(SHAPE)), held(0.0)

    def update(gradient: Any, variable: Any) -> None:
        steps.assign_add(1.0)
        mean.assign(0.9 * mean + 0.1 * gradient)
        square.assign(0.999 * square + 0.001 * gradient**2)
        step = (mean / (1 - 0.9**steps)) / (tf.sqrt(square / (1 - 0.999**steps)) + 1e-7)
        variable.value.assign_sub(0.01 * step)

    return update


def chosen(gradient: Any, variable: Any) -> None:
    """Without branches."""
    total, seen = chosen_sum, chosen_count
    due = tf.equal((seen + 1) % CALLS, 0)
    now = total + gradient
    variable.value.assign(tf.where(due, variable.value - 0.1 * now / CALLS, variable.value))
    total.assign(tf.where(due, tf.zeros_like(now), now))
    seen.assign_add(1)


def masked(gradient: Any, variable: Any) -> None:
    """By products with zero and one."""
    total, seen = masked_sum, masked_count
    due = tf.cast(tf.equal((seen + 1) % CALLS, 0), tf.float32)
    now = total + gradient
    variable.value.assign_sub(due * 0.1 * (now / CALLS))
    total.assign((1 - due) * now)
    seen.assign_add(1)


def averaged(gradient: Any, variable: Any) -> None:
    """A running mean instead of a sum."""
    mean, seen = mean_so_far, mean_count
    count = tf.cast(seen, tf.float32)
    mean.assign((mean * count + gradient) / (count + 1))
    seen.assign_add(1)

    def made() -> None:
        descend(mean.read_value(), variable)
        mean.assign(tf.zeros_like(mean))
        seen.assign(0)

    when(seen >= CALLS, made)


def flagged(gradient: Any, variable: Any) -> None:
    """By a flag that the call before has set."""
    total, seen, due = flag_sum, flag_count, flag
    total.assign_add(gradient)
    seen.assign_add(1)

    def made() -> None:
        descend(total / CALLS, variable)
        total.assign(tf.zeros_like(total))
        seen.assign(0)

    when(due, made)
    due.assign(tf.equal(seen, CALLS - 1))


def never_flagged(gradient: Any, variable: Any) -> None:
    stale_sum.assign_add(gradient)
    when(stale, lambda: descend(stale_sum / CALLS, variable))


def late(gradient: Any, variable: Any) -> None:
    """The gradient of the updating call is left out."""
    total, seen = late_sum, late_count
    seen.assign_add(1)

    def made() -> None:
        descend(total / CALLS, variable)
        total.assign(tf.zeros_like(total))
        seen.assign(0)

    when(seen >= CALLS, made, lambda: total.assign_add(gradient))


def begun_with_the_last(gradient: Any, variable: Any) -> None:
    total, seen = again_sum, again_count
    total.assign_add(gradient)
    seen.assign_add(1)

    def made() -> None:
        descend(total / CALLS, variable)
        total.assign(gradient)
        seen.assign(0)

    when(seen >= CALLS, made)


def last_alone(gradient: Any, variable: Any) -> None:
    last_count.assign_add(1)
    when(tf.equal(last_count % CALLS, 0), lambda: descend(gradient, variable))


def zeros_between(gradient: Any, variable: Any) -> None:
    """A momentum that moves in each call, mostly by nothing."""
    total, seen = zeros_sum, zeros_count
    total.assign_add(gradient)
    seen.assign_add(1)
    due = tf.equal(seen % CALLS, 0)
    momentum.assign(0.9 * momentum + tf.where(due, total / CALLS, 0.0))
    variable.value.assign_sub(0.1 * momentum)
    total.assign(tf.where(due, tf.zeros_like(total), total))


def _sums(count: int) -> list[tf.Variable]:
    return [held(tf.zeros(SHAPE)) for _ in range(count)]


chosen_sum, masked_sum, mean_so_far, flag_sum, stale_sum, late_sum, again_sum, zeros_sum = _sums(8)
chosen_count, masked_count, mean_count, flag_count, late_count = (held() for _ in range(5))
again_count, last_count, zeros_count = (held() for _ in range(3))
flag, stale, momentum = held(False), held(False), held(tf.zeros(SHAPE))

RIGHT: dict[str, Apply | Any] = {
    "in a branch": summed(),
    "at a rate": summed(descend_at_rate),
    "divided rate": summed(lambda g, v: v.value.assign_sub(RATE / 3.0 * g), lambda total: total),
    "decays, divided last": summed(descend_and_decay, lambda total: total),
    "each divided": each_divided(summed(mean=lambda total: total)),
    "keras": optim.Adam(0.01, gradient_accumulation_steps=CALLS),
    "keras decays": optim.AdamW(0.01, weight_decay=0.1, gradient_accumulation_steps=CALLS),
    "keras clips": optim.SGD(0.1, momentum=0.9, clipnorm=1.0, gradient_accumulation_steps=CALLS),
    "applied by keras": by(optim.Adam(0.01)),
    "adam by hand": summed(adam_by_hand()),
    "chosen": chosen,
    "masked": masked,
    "averaged": averaged,
    "flagged": flagged,
}
OFTEN = "an update after each 3 calls, by "
WRONG: dict[str, tuple[Apply | Any, str]] = {
    "sum": (summed(mean=lambda total: total), OFTEN + "the sum of their gradients"),
    "sum of a few": (summed(descend_at_rate, lambda total: total), OFTEN + "the sum of their grad"),
    "sum by keras": (by(optim.Adam(0.01), mean=lambda t: t), OFTEN + "the sum of their gradients"),
    "by two": (by(optim.SGD(0.1), mean=lambda t: t / 2), OFTEN + "1.5 times the mean of their"),
    "doubled": (summed(mean=lambda t: t / CALLS * 2.0), OFTEN + "2 times the mean of their"),
    "doubled by hand": (
        summed(adam_by_hand(), lambda t: t / CALLS * 2),
        OFTEN + "2 times the mean",
    ),
    "keras by four": (
        optim.SGD(0.1, gradient_accumulation_steps=4),
        "an update after each 4 calls, by the mean of their gradients",
    ),
    "one more": (summed(due=lambda seen: seen > CALLS), "an update after each 4 calls, by 1.33333"),
    "from one": (by(optim.SGD(0.1), seen_first=1), "an update after each 2 calls, by 0.666667"),
    "never emptied": (summed(first=None), OFTEN + "the gradients of all calls so far"),
    "from ones": (by(optim.Adam(0.1), first=1.0), OFTEN + "their gradients and what was there"),
    "each call": (descend, "an update in each call"),
    "always due": (summed(due=lambda seen: seen > 0), "an update in each call"),
    "zeros between": (zeros_between, "an update in each call"),
    "never": (never_flagged, "no update in 12 calls"),
    "late": (late, OFTEN + "the gradients since the update before, without that of the last call"),
    "again": (begun_with_the_last, OFTEN + "the gradients since the update before, and that of"),
    "last alone": (last_alone, OFTEN + "the gradient of the last call alone"),
}


def told_of(every: Mapping[str, Any], calls: int) -> dict[str, str]:
    """What is said of each variable, by how it is updated; all in one step."""
    step = step_of({name.replace(" ", "_"): how for name, how in every.items()}, SHAPE)
    found = dict.fromkeys(every, "")
    detector = Detector(capture(step, BATCH))
    for violation in KEYWORDS["accumulated"].check(detector, calls, Expectation()):
        what, _, paths = violation.found.rpartition(": ")
        found |= {path.replace("_", " "): what for path in paths.split(", ")}
    return found


@functools.cache
def told() -> dict[str, str]:
    """What is said of each variable, all of one step."""
    return told_of(RIGHT | {name: one for name, (one, _) in WRONG.items()}, CALLS)


@pytest.mark.parametrize("name", RIGHT)
def test_a_mean_is_one_however_it_is_written(name: str) -> None:
    assert told()[name] == ""


@pytest.mark.parametrize("name", WRONG)
def test_a_fault_is_told_for_what_it_is(name: str) -> None:
    assert told()[name].startswith(WRONG[name][1])


def test_a_clip_of_each_call_is_none_of_what_they_add_up_to() -> None:
    def clipped(gradient: Any) -> Any:
        return tf.clip_by_value(gradient, -0.1, 0.1)

    each, mean = summed(), summed(lambda gradient, v: descend(clipped(gradient), v))
    step = step_of({"each": lambda g, v: each(clipped(g), v), "mean": mean}, SHAPE)
    told = rejected(step, BATCH, clipping=(-0.1, 0.1))
    assert "each: clipped, but only the gradients of single calls are" in told
    assert "mean: " not in told


def test_a_loss_may_be_divided_instead() -> None:
    assert asked_of_divided("loss")(accumulated=2) == ""
    found = asked_of_divided("")(accumulated=2)
    assert "an update after each 2 calls, by the sum of their gradients" in found


def asked_of_divided(what: str) -> Asked:
    model = dense()
    weights = [v.value for v in model.trainable_variables]
    sums, optimizer = [held(tf.zeros(w.shape)) for w in weights], optim.SGD(0.1)
    optimizer.build(model.trainable_variables)
    seen = held()

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        def made() -> None:
            optimizer.apply([total.read_value() for total in sums], model.trainable_variables)
            for total in sums:
                total.assign(tf.zeros_like(total))

        # What was added up is applied first: gradients are taken of what it leaves.
        when(tf.logical_and(seen > 0, tf.equal(seen % 2, 0)), made)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
            loss = loss / 2.0 if what else loss
        for total, gradient in zip(sums, tape.gradient(loss, weights), strict=True):
            total.assign_add(gradient)
        seen.assign_add(1)

    return Asked(step, *batch())


def test_half_precision_and_facts() -> None:
    model = dense(policy="mixed_float16")
    inner = optim.Adam(0.01, gradient_accumulation_steps=4)
    model.compile(optim.LossScaleOptimizer(inner), "mse")
    facts = verify.facts(model, batch())
    assert facts.accumulated == 4
    assert "the mean of the gradients of 4 calls" in str(facts)
    verify.assert_graph(model, batch(), accumulated=4)


def test_rows_of_a_table_and_constraints() -> None:
    model = keras.Sequential(
        [
            keras.Input((2,), dtype="int32"),
            keras.layers.Embedding(6, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(1, kernel_constraint="max_norm"),  # it is held in each call
        ]
    )
    model.compile(optim.SGD(0.1, gradient_accumulation_steps=2), "mse")
    specs = tf.TensorSpec((None, 2), tf.int32), tf.TensorSpec((None, 1))
    verify.assert_graph(model, specs, accumulated=2)


def test_parts_of_a_batch_are_one_call() -> None:
    """A step that goes through parts of a batch by itself updates in each call."""
    model = dense()
    weights = [v.value for v in model.trainable_variables]

    def gradients(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        return tape.gradient(loss, weights)

    @tf.function(autograph=False)
    def unrolled(x: Any, y: Any) -> None:
        both = zip(gradients(x[:4], y[:4]), gradients(x[4:], y[4:]), strict=True)
        for weight, (one, other) in zip(weights, both, strict=True):
            weight.assign_sub(0.1 * (one + other) / 2)

    @tf.function(autograph=False)
    def in_a_loop(x: Any, y: Any) -> None:
        def turn(i: Any, *totals: Any) -> Any:
            found = gradients(x[i::2], y[i::2])
            return i + 1, *(t + g for t, g in zip(totals, found, strict=True))

        first = [tf.zeros(weight.shape) for weight in weights]
        _, *totals = tf.while_loop(lambda i, *_: i < 2, turn, (0, *first))
        for weight, total in zip(weights, totals, strict=True):
            weight.assign_sub(0.1 * total / 2)

    told = rejected(unrolled, *batch(), model=model, accumulated=2)
    assert "the gradients of 2 backward passes are added up within one call" in told
    told = rejected(in_a_loop, *batch(), model=model, accumulated=2)
    assert "an update in each call" in told
    assert "the gradients of a loop are added up within one call" in told
    verify.assert_graph(unrolled, *batch(), model=model, accumulated=None)


def test_nothing_is_accumulated() -> None:
    model = dense()
    model.compile(optim.Adam(0.01), "mse")
    for nothing in (None, 1):
        verify.assert_graph(model, batch(), accumulated=nothing)
    assert verify.facts(model, batch()).accumulated is None
    model.compile(optim.Adam(0.01, gradient_accumulation_steps=2), "mse")
    told = rejected(model, batch(), accumulated=None)
    assert "an update after each 2 calls, by the mean of their gradients" in told
    for wrong in (0, True, 2.0, "2"):
        with pytest.raises(TypeError, match="is not a number of calls"):
            verify.assert_graph(model, batch(), accumulated=wrong)
