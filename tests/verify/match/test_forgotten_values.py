"""What evaluations keep between questions: little, and never other values for it."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from verify.graphs import FlatGraph, Tensor, flatten
from verify.match import Drawn, Evaluation, Made, Plan, values

MANY = 40


def chains(common: bool) -> tuple[FlatGraph, list[Tensor]]:
    """Many values of some ops each, which have a sum of many numbers in common, or nothing."""

    def made(x: tf.Tensor) -> list[tf.Tensor]:
        whole = tf.zeros(())
        for i in range(MANY):
            whole += tf.sin(x[i])
        begun = (x[i] + whole if common else x[i] for i in range(MANY))
        return [tf.exp(tf.tanh(one)) for one in begun]

    flat = flatten(tf.function(made).get_concrete_function(tf.TensorSpec((MANY,))))
    return flat, flat.outputs


def held(evaluation: Evaluation) -> int:
    return len(evaluation._outside)


@pytest.mark.parametrize("common", [False, True])
def test_what_is_forgotten_is_the_same_again(common: bool) -> None:
    flat, wanted = chains(common)
    kept = Evaluation(Plan(flat), Drawn(0))
    expected = [kept.value(tensor).numpy() for tensor in wanted]
    with mock.patch.object(values, "_MOST_KEPT", 10):
        forgetful, most = Evaluation(Plan(flat), Drawn(0)), 0
        for tensor, value in zip([*wanted, *wanted], [*expected, *expected], strict=True):
            np.testing.assert_array_equal(forgetful.value(tensor).numpy(), value)
            most = max(most, held(forgetful))
    assert most < held(kept)


def test_what_all_need_is_not_computed_for_each() -> None:
    """A norm of all gradients, say: forgotten at most as often as as much is computed besides."""
    flat, wanted = chains(common=True)
    with (
        mock.patch.object(values, "_MOST_KEPT", 10),
        mock.patch.object(values, "call_op", side_effect=values.call_op) as calls,
    ):
        evaluation = Evaluation(Plan(flat), Drawn(0))
        for tensor in wanted:
            evaluation.value(tensor)
    assert calls.call_count < 2 * len(flat.nodes)


def test_what_a_tape_recorded_is_kept() -> None:
    flat, wanted = chains(common=False)
    with mock.patch.object(values, "_MOST_KEPT", 1), tf.GradientTape() as tape:
        fed = tf.constant(np.linspace(0, 1, MANY))
        tape.watch(fed)
        cut = {(flat.arguments[0], 0): fed}
        evaluation = Evaluation(Plan(flat), Drawn(0), cut, recorded=True)
        loss = tf.add_n([evaluation.value(tensor) for tensor in [*wanted, *wanted]])
    assert (tape.gradient(loss, fed).numpy() > 0).all()
    assert held(evaluation) > MANY


def test_what_is_cut_is_made_when_it_is_asked_for() -> None:
    flat, (first, *_) = chains(common=False)
    asked: list[Tensor] = []

    def make(tensor: Tensor) -> tf.Tensor:
        asked.append(tensor)
        return tf.constant(0.0)

    befores = {flat.node(tensor).data[0]: tensor for tensor in flat.outputs}
    evaluation = Evaluation(Plan(flat), Drawn(0), Made(befores.keys(), make))
    assert evaluation.value(first).numpy() == 1
    assert [befores[tensor] for tensor in asked] == [first]
