"""Losses of which a step chooses one, under one tape: each has a gradient of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.grids import grid
from tests.verify.steps import batch, dense
from verify.step import capture

MSE, MAE = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()
HUBER = keras.losses.Huber()
FLAG = tf.Variable(True, trainable=False, name="flag")
WHICH = tf.Variable(0, trainable=False, name="which")
Loss = Callable[[keras.Model, Any, Any], Any]


def by_cond(model: keras.Model, x: Any, y: Any) -> Any:
    prediction = model(x)
    return tf.cond(FLAG, lambda: MSE(y, prediction), lambda: MAE(y, prediction))


def by_if(model: keras.Model, x: Any, y: Any) -> Any:
    prediction = model(x)
    if FLAG:  # noqa: SIM108 - autograph makes a tf.cond of a statement
        loss = MSE(y, prediction)
    else:
        loss = MAE(y, prediction)
    return loss


def with_the_forward_pass(model: keras.Model, x: Any, y: Any) -> Any:
    return tf.cond(FLAG, lambda: MSE(y, model(x)), lambda: MAE(y, model(x)))


def nested(model: keras.Model, x: Any, y: Any) -> Any:
    prediction = model(x)
    return tf.cond(
        FLAG,
        lambda: tf.cond(x[0, 0] > 0, lambda: MSE(y, prediction), lambda: MAE(y, prediction)),
        lambda: HUBER(y, prediction),
    )


def by_case(model: keras.Model, x: Any, y: Any) -> Any:
    prediction = model(x)
    losses = [lambda: MSE(y, prediction), lambda: MAE(y, prediction), lambda: HUBER(y, prediction)]
    return tf.switch_case(tf.identity(WHICH), losses)


def step(loss: Loss, *, xla: bool = False) -> Any:
    model, optimizer = dense(), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=xla)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(model, x, y)
        variables = model.trainable_variables
        gradients = tape.gradient(value, variables)
        optimizer.apply([tf.clip_by_norm(g, 1.0) for g in gradients], variables)

    return train


@pytest.mark.parametrize(
    ("chosen", "traced"),
    grid(
        [
            (by_cond, [MSE, MAE]),
            (by_if, [MSE, MAE]),
            (with_the_forward_pass, [MSE, MAE]),
            (nested, [MSE, MAE, HUBER]),
            (by_case, [MSE, MAE, HUBER]),
        ],
        [(False, 8), (True, None), (True, 8), (False, None)],
    ),
    ids=lambda pair: getattr(pair[0], "__name__", str(pair)),
)
def test_each_of_the_losses(
    chosen: tuple[Loss, list[Any]], traced: tuple[bool, int | None]
) -> None:
    (loss, all_of), (xla, size) = chosen, traced
    train = step(loss, xla=xla)
    clipping = {"norm": 1.0}
    verify.assert_graph(train, *batch(size), loss=all_of, watched="*", clipping=clipping)
    for wrong in (all_of[1:], [MSE, *all_of[:-1]]):
        with pytest.raises(verify.GraphAssertionError, match=r"data loss|Mean|Huber"):
            verify.assert_graph(train, *batch(size), loss=wrong)


@pytest.mark.parametrize("xla", [False, True])
def test_which_one_under_which_value(xla: bool) -> None:
    cond, case = step(by_cond, xla=xla), step(by_case, xla=xla)
    verify.assert_graph(
        cond, *batch(), guards=[(FLAG, {True: {"loss": MSE}, False: {"loss": MAE}})]
    )
    of_case = {0: {"loss": MSE}, 1: {"loss": MAE}, 2: {"loss": HUBER}}
    verify.assert_graph(case, *batch(), guards=[(WHICH, of_case)])
    with pytest.raises(verify.GraphAssertionError, match=r"\['flag': True\] loss"):
        verify.assert_graph(cond, *batch(), guards=[(FLAG, {True: {"loss": MAE}})])


def test_a_weight_in_one_branch_is_not_lost_behind_the_other() -> None:
    def twice(model: keras.Model, x: Any, y: Any) -> Any:
        prediction = model(x)
        return tf.cond(FLAG, lambda: MSE(y, prediction), lambda: 2.0 * MSE(y, prediction))

    with pytest.raises(verify.GraphAssertionError, match="MeanSquaredError with weight 2 of"):
        verify.assert_graph(step(twice), *batch(), loss=MSE)
    verify.assert_graph(step(twice), *batch(), loss=[MSE, (MSE, 2.0)])


@pytest.mark.parametrize("xla", [False, True])
def test_a_branch_takes_what_others_by_the_same_choice_made(xla: bool) -> None:
    """Every value that a gradient's branch takes is one of its forward branch, not a choice."""
    flat = capture(step(nested, xla=xla), *batch()).flat
    inside = [node for node in flat.nodes if node.path and node.path[0].startswith("gradient")]
    assert inside
    for node in inside:
        for maker in map(flat.node, node.data):
            assert maker.op not in ("If", "StatelessIf") or maker.path == node.path


def test_an_op_of_other_branches_by_the_same_index_is_not_alike() -> None:
    """Where there is no such branch, the last one is taken: they may differ."""
    spec, index = tf.TensorSpec((4,)), tf.TensorSpec((), tf.int32)

    def branches(count: int) -> list[Any]:
        made = [tf.function(lambda x, i=i: x * float(i)) for i in range(1, count + 1)]
        return [function.get_concrete_function(spec) for function in made]

    two, three = branches(2), branches(3)

    def chosen(x: Any, i: Any) -> Any:
        of = {"branch_index": i, "Tout": [tf.float32]}
        (first,) = tf.raw_ops.Case(input=[x], branches=two, **of)
        return tf.raw_ops.Case(input=[first], branches=three, **of)

    flat = capture(tf.function(chosen), spec, index).flat
    inside = [node for node in flat.nodes if node.op == "Mul" and "Case_1" in node.path[0]]
    assert [flat.node(node.data[0]).op for node in inside] == ["Case"] * 3
