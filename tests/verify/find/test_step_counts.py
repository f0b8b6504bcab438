"""Whether an optimizer counts the steps that it makes, or more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense
from tests.verify.updates import rejected

optim = keras.optimizers
MSE = keras.losses.MeanSquaredError()
SCHEDULE = optim.schedules.ExponentialDecay(0.01, 100, 0.9)


def applied_to_parts(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    optimizer.apply(gradients[:2], variables[:2])
    optimizer.apply(gradients[2:], variables[2:])


def counted_before(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    optimizer.iterations.assign_add(1)
    optimizer.apply(gradients, variables)


def counted_after(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    optimizer.apply(gradients, variables)
    optimizer.iterations.assign_add(1)


def counted_besides(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    applied_to_parts(optimizer, gradients, variables)
    optimizer.iterations.assign_add(1)


def counted_in_a_branch(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    def update(factor: float) -> int:
        optimizer.apply([factor * gradient for gradient in gradients], variables)
        return 0

    tf.cond(tf.reduce_sum(gradients[0]) > 0.0, lambda: update(1.0), lambda: update(2.0))


def step_applied(apply: Callable[..., None], optimizer: Any) -> Any:
    model = dense()
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = MSE(y, model(x))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        apply(optimizer, gradients, model.trainable_variables)

    return train


Made = Callable[[], Any]
COUNTING: list[Made] = [lambda: optim.Adam(0.01), lambda: optim.SGD(SCHEDULE)]


@pytest.mark.parametrize("optimizer", COUNTING, ids=["adam", "scheduled"])
@pytest.mark.parametrize(
    ("apply", "told"),
    [
        (counted_before, "counts 2 steps where it makes 1"),
        (counted_after, "counts 2 steps where it makes 1"),
        (counted_besides, "counts 3 steps where it makes 2"),
    ],
)
def test_steps_that_are_counted_and_not_made(
    apply: Callable[..., None], told: str, optimizer: Made
) -> None:
    step = step_applied(apply, optimizer())
    assert told in rejected(step, *batch(), optimizer=optimizer())
    assert told in verify.facts(step, *batch()).optimizers[0].name


@pytest.mark.parametrize("apply", [applied_to_parts, counted_in_a_branch])
@pytest.mark.parametrize("optimizer", COUNTING, ids=["adam", "scheduled"])
def test_an_optimizer_may_make_several_steps(apply: Callable[..., None], optimizer: Made) -> None:
    names = [o.name for o in verify.facts(step_applied(apply, optimizer()), *batch()).optimizers]
    assert not any("counts" in name for name in names)


def test_it_is_not_told_where_no_update_depends_on_the_count() -> None:
    verify.assert_graph(
        step_applied(counted_after, optim.SGD(0.1)), *batch(), optimizer=optim.SGD(0.1)
    )


def test_nor_where_an_update_is_by_no_rule_that_is_known() -> None:
    facts = verify.facts(step_applied(applied_to_parts, optim.Nadam(0.01)), *batch())
    assert not any("counts" in one.name for one in facts.optimizers)


def test_nor_of_calls_whose_gradients_are_added_up() -> None:
    optimizer = optim.Adam(0.01, gradient_accumulation_steps=2)
    facts = verify.facts(step_applied(applied_to_parts, optimizer), *batch())
    assert not any("counts" in one.name for one in facts.optimizers)
