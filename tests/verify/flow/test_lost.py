"""Updates of which nothing is left: undone, or in a branch that a constant never chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from verify.flow import Flow
from verify.graphs import flatten

Write = Callable[[Any, Any, Any], Any]
"""(variable, its gradient, x)"""


def flow(write: Write) -> Flow:
    weight = tf.Variable([1.0, 2.0], name="weight")

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((weight * x - 1.0) ** 2)
        write(weight, tape.gradient(loss, weight), x)

    return Flow(flatten(train.get_concrete_function(tf.TensorSpec((2,)))))


def chosen_by(condition: Callable[[Any], Any]) -> Write:
    def write(weight: Any, gradient: Any, x: Any) -> None:
        tf.cond(condition(x), lambda: weight.assign_sub(gradient), lambda: weight.read_value())

    return write


def set_back(weight: Any, gradient: Any, x: Any) -> None:
    before = weight.read_value()
    with tf.control_dependencies([before]):
        weight.assign_sub(gradient)
    weight.assign(before)


def set_to_a_constant(weight: Any, gradient: Any, x: Any) -> None:
    weight.assign_sub(gradient)
    weight.assign([3.0, 4.0])


def halved_afterwards(weight: Any, gradient: Any, x: Any) -> None:
    weight.assign_sub(gradient)
    weight.assign(0.5 * weight)


def set_before(weight: Any, gradient: Any, x: Any) -> None:
    weight.assign([3.0, 4.0])
    weight.assign_sub(gradient)


def set_back_sometimes(weight: Any, gradient: Any, x: Any) -> None:
    weight.assign_sub(gradient)
    tf.cond(x[0] > 0, lambda: weight.assign([3.0, 4.0]), lambda: weight.read_value())


def one_of_several(weight: Any, gradient: Any, x: Any) -> None:
    branches = [lambda: weight.assign_sub(gradient), lambda: weight.read_value()]
    tf.switch_case(tf.constant(1), branches)


NEVER = "a constant always chooses another branch"
UNDONE = "sets the variable to something else afterwards"
LOST: dict[str, tuple[Write, str]] = {
    "never chosen": (chosen_by(lambda x: tf.constant(False)), NEVER),
    "another of several": (one_of_several, NEVER),
    "set back": (set_back, UNDONE),
    "set to a constant": (set_to_a_constant, UNDONE),
}
KEPT: dict[str, Write] = {
    "plain": lambda weight, gradient, x: weight.assign_sub(gradient),
    "always chosen": chosen_by(lambda x: tf.constant(True)),
    "chosen by data": chosen_by(lambda x: x[0] > 0),
    "halved afterwards": halved_afterwards,
    "set before": set_before,
    "set back sometimes": set_back_sometimes,
}


@pytest.mark.parametrize("name", LOST)
def test_an_update_that_is_lost_trains_nothing(name: str) -> None:
    write, reason = LOST[name]
    found = flow(write)
    (told,) = [why for update, why in found.lost.items() if update.node.index in found.backward]
    assert reason in told
    assert found.trained == []


@pytest.mark.parametrize("name", KEPT)
def test_an_update_of_which_something_is_left(name: str) -> None:
    found = flow(KEPT[name])
    assert len(found.trained) == 1
    assert found.lost.keys().isdisjoint(found.trained)
