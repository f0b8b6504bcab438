"""What depends on what, in graphs of a few ops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step
from verify.flow import Flow, differentiated
from verify.graphs import flatten


@pytest.fixture
def weight() -> tf.Variable:
    return tf.Variable([1.0, 2.0], name="weight")


@pytest.fixture
def state() -> tf.Variable:
    return tf.Variable([0.0, 0.0], trainable=False, name="state")


def flow(step: Callable[[Any], Any], **options: Any) -> Flow:
    function = tf.function(step, autograph=False).get_concrete_function(tf.TensorSpec((2,)))
    return Flow(flatten(function), **options)


def ops(found: Flow, indices: set[int]) -> set[str]:
    return {found.flat.nodes[i].op for i in indices}


def loss_gradient(weight: tf.Variable, x: Any) -> Any:
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((weight * x - 1.0) ** 2)
    return tape.gradient(loss, weight)


def test_an_update_by_a_gradient_is_trained(weight: tf.Variable) -> None:
    found = flow(lambda x: weight.assign_sub(loss_gradient(weight, x)))
    (update,) = found.trained
    assert update.variable.path.startswith("weight")
    assert found.trained == found.updates
    assert list(found.trained_of) == [update.variable.key]


def test_a_write_of_anything_else_is_none(weight: tf.Variable) -> None:
    found = flow(lambda x: weight.assign_sub(0.1 * x))
    assert len(found.updates) == 1
    assert found.trained == []
    assert found.seeds == []


def test_a_gradient_goes_on_through_state(weight: tf.Variable, state: tf.Variable) -> None:
    """As with momentum: written, then read."""

    def step(x: Any) -> None:
        state.assign(0.9 * state + loss_gradient(weight, x))
        weight.assign_sub(state.read_value())

    assert len(flow(step).trained) == 1


def test_not_backwards_in_time(weight: tf.Variable, state: tf.Variable) -> None:
    """What is read before the write is of the step before."""

    def step(x: Any) -> None:
        gradient = loss_gradient(weight, x)
        old = state.read_value()
        with tf.control_dependencies([old]):
            state.assign(gradient)
        weight.assign_sub(old)

    assert flow(step).trained == []


def test_not_through_another_trainable_variable(weight: tf.Variable) -> None:
    other = tf.Variable([3.0, 4.0], name="other")

    def step(x: Any) -> None:
        weight.assign_sub(loss_gradient(weight, x))
        other.assign(weight.read_value())

    found = flow(step)
    assert [u.variable.path.split(":")[0] for u in found.trained] == ["weight"]
    assert len(found.updates) == 2


def test_what_is_trainable_can_be_said(weight: tf.Variable, state: tf.Variable) -> None:
    def step(x: Any) -> None:
        gradient = loss_gradient(weight, x)
        weight.assign_sub(gradient)
        state.assign_sub(gradient)

    found = flow(step)
    assert [u.variable.trainable for u in found.updates] == [True]
    keys = frozenset(v.key for v in found.flat.variables.values() if not v.trainable)
    only = flow(step, trainable=keys)
    assert len(only.updates) == 1
    assert only.updates[0].variable.key in keys


def test_a_gradient_that_is_applied_twice(weight: tf.Variable) -> None:
    def twice(x: Any) -> None:
        gradient = loss_gradient(weight, x)
        weight.assign_sub(gradient)
        weight.assign_sub(gradient)

    def each_its_own(x: Any) -> None:
        weight.assign_sub(loss_gradient(weight, x))
        weight.assign_sub(loss_gradient(weight, 2 * x))

    def one_of_two(x: Any) -> Any:
        gradient = loss_gradient(weight, x)
        return tf.cond(
            x[0] > 0,
            lambda: weight.assign_sub(gradient),
            lambda: weight.assign_sub(2 * gradient),
        )

    found = flow(twice)
    assert [u.node.index for u in found.repeated] == [found.trained[1].node.index]
    assert flow(each_its_own).repeated == []
    assert flow(one_of_two).repeated == []
    assert flow(lambda x: weight.assign_sub(loss_gradient(weight, x))).repeated == []


def test_a_variable_that_is_passed_as_an_argument_is_no_data() -> None:
    passed = tf.Variable([1.0, 2.0], name="passed")
    spec = tf.TensorSpec((2,))
    function = tf.function(lambda v, x: tf.sin(v) * tf.cos(x), autograph=False)
    found = Flow(flatten(function.get_concrete_function(passed, spec)))
    assert "Sin" not in ops(found, found.of_data)
    assert {"Cos", "Mul"} <= ops(found, found.of_data)


def test_zero_times_a_gradient_trains_nothing(weight: tf.Variable) -> None:
    other = tf.Variable([3.0, 4.0], name="other")

    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((weight * x - other) ** 2)
        of_weight, of_other = tape.gradient(loss, [weight, other])
        weight.assign_sub(0.1 * of_weight)
        other.assign_sub(0.1 * (of_other * tf.zeros((2,))))

    found = flow(step)
    assert [update.variable.path.split(":")[0] for update in found.trained] == ["weight"]
    assert len(found.updates) == 2


def test_zeros_of_the_forward_pass_are_not_meant(weight: tf.Variable) -> None:
    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.exp(weight * x) - weight * tf.zeros((2,)))
        weight.assign_sub(tape.gradient(loss, weight))

    assert len(flow(step).trained) == 1


def test_data_and_weights(weight: tf.Variable) -> None:
    found = flow(lambda x: tf.exp(x) + tf.sin(weight) + tf.cos(tf.random.normal((2,))))
    assert {"Exp", "Cos", "AddV2", "RandomStandardNormal"} <= ops(found, found.of_data)
    assert "Sin" not in ops(found, found.of_data)
    assert {"Sin", "AddV2"} <= ops(found, found.of_weights)
    assert not {"Exp", "Cos"} & ops(found, found.of_weights)


def test_paths(weight: tf.Variable) -> None:
    found = flow(lambda x: tf.exp(tf.sin(tf.cos(x))))
    (argument,) = found.flat.arguments
    index = {node.op: node.index for node in found.flat.nodes}
    assert {"Cos", "Sin", "Exp"} <= ops(found, found.descendants([argument]))
    without = found.descendants([argument], without={index["Sin"]})
    assert ops(found, without) >= {"Cos"}
    assert not {"Sin", "Exp"} & ops(found, without)
    assert ops(found, found.near([argument], 1)) == {"Placeholder", "Cos"}
    assert ops(found, found.near([argument], 2)) == {"Placeholder", "Cos", "Sin"}
    assert {"Placeholder", "Cos", "Sin"} <= ops(found, found.ancestors([index["Sin"]]))
    assert "Exp" not in ops(found, found.ancestors([index["Sin"]]))
    assert index["Sin"] in found.consumers[index["Cos"]]
    assert found.producers[index["Sin"]] == (index["Cos"],)


def test_an_output_among_several() -> None:
    found = flow(
        lambda x: [tf.exp(part) if i else tf.sin(part) for i, part in enumerate(tf.unstack(x))]
    )
    unpack = next(node.index for node in found.flat.nodes if node.op == "Unpack")
    assert ops(found, found.after([(unpack, 0)])) >= {"Sin"}
    assert "Exp" not in ops(found, found.after([(unpack, 0)]))


def test_a_branch_of_its_own(weight: tf.Variable) -> None:
    """A region has only its own updates."""

    def step(x: Any) -> Any:
        gradient = loss_gradient(weight, x)
        return tf.cond(
            x[0] > 0, lambda: weight.assign_sub(gradient), lambda: weight.assign_sub(2 * gradient)
        )

    whole = flow(step)
    assert len(whole.updates) == 2
    paths = {update.node.path for update in whole.updates}
    assert len(paths) == 2
    for path in paths:
        region = flow(step, region=path)
        assert [update.node.path for update in region.updates] == [path]


def test_an_update_can_not_be_changed(weight: tf.Variable) -> None:
    (update,) = flow(lambda x: weight.assign(x)).updates
    with pytest.raises(dataclasses.FrozenInstanceError):
        update.node = update.node  # type: ignore[misc]


def test_decay_is_a_share_of_the_weight_itself(weight: tf.Variable, state: tf.Variable) -> None:
    """Of no gradient, no data, and nothing else."""
    other = tf.Variable([3.0, 4.0], name="other")
    assert len(flow(lambda x: weight.assign_sub(0.1 * weight)).decayed) == 1
    for other_step in (
        lambda x: weight.assign_sub(0.1 * weight * x),
        lambda x: weight.assign_sub(loss_gradient(weight, x)),
        lambda x: weight.assign_sub(0.1 * other),
        lambda x: weight.assign(tf.sin(weight)),
        lambda x: weight.assign(tf.constant([1.0, 2.0])),
    ):
        assert flow(other_step).decayed == []


def test_each_variable_that_decays(weight: tf.Variable) -> None:
    """Whatever happens to another one before it."""
    other = tf.Variable([3.0, 4.0], name="other")

    def step(x: Any) -> None:
        weight.assign_sub(loss_gradient(weight, x))
        other.assign(0.9 * other)

    assert [update.variable.path.split(":")[0] for update in flow(step).decayed] == ["other"]


@pytest.mark.parametrize(
    ("write", "decays"),
    [
        (lambda w, g: w.assign_sub(0.1 * (g + 0.01 * w)), True),
        (lambda w, g: w.assign((1.0 - 0.01) * w - 0.1 * g), True),
        (lambda w, g: w.assign(w - 0.1 * g - 0.001 * w), True),
        (lambda w, g: w.assign_sub(0.1 * tf.clip_by_value(g + 0.01 * w, -1.0, 1.0)), True),
        (lambda w, g: w.assign_sub(0.1 * g), False),
        (lambda w, g: w.assign(w - 0.1 * g), False),
        (lambda w, g: w.assign_add(-0.1 * (g + 0.0 * w)), False),
        (lambda w, g: w.assign_sub(0.1 * g * tf.norm(w)), False),
    ],
)
def test_a_share_that_is_added_to_a_gradient(
    write: Callable[[Any, Any], Any], decays: bool, weight: tf.Variable
) -> None:
    found = flow(lambda x: write(weight, loss_gradient(weight, x)))
    assert found.decayed == (found.trained if decays else [])


def test_an_l2_term_of_the_loss_is_no_decay(weight: tf.Variable) -> None:
    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((weight * x - 1.0) ** 2) + 0.01 * tf.reduce_sum(weight**2)
        weight.assign_sub(0.1 * tape.gradient(loss, weight))

    assert flow(step).decayed == []


def test_what_a_loss_is_differentiated_by_where_no_graph_says_what_is_trainable(
    weight: tf.Variable, state: tf.Variable
) -> None:
    count = tf.Variable(2, trainable=False, name="count")

    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((weight * x * tf.cast(count, "float32")) ** 2)
        state.assign(tape.gradient(loss, weight))

    flat = flow(step).flat
    paths = {v.path.split(":")[0] for v in flat.variables.values() if v.key in differentiated(flat)}
    assert paths == {"weight"}


def test_a_loss_scale_multiplies_what_is_differentiated(weight: tf.Variable) -> None:
    scale = tf.Variable(8.0, trainable=False, name="scale")
    factor = tf.Variable([2.0, 3.0], trainable=False, name="factor")

    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((weight * factor * x) ** 2)
            scaled = loss * scale
        weight.assign_sub(tape.gradient(scaled, weight) / scale)

    found = flow(step)
    paths = {v.path.split(":")[0] for v in found.flat.variables.values() if v.key in found.scales}
    assert paths == {"scale"}
    assert flow(lambda x: weight.assign_sub(loss_gradient(weight, x))).scales == frozenset()

    def regularised(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((weight * factor) ** 2)
        weight.assign_sub(tape.gradient(loss, weight))

    assert flow(regularised).scales == frozenset(), "no data, but weights are multiplied by it"


def test_weights_that_are_pruned_do_not_decay() -> None:
    model = dense()
    kernel, loss = model.trainable_variables[0], keras.losses.MeanSquaredError()
    mask = np.eye(*kernel.shape, dtype=np.float32)
    pruned = step(model, loss, after=lambda *_: kernel.assign(kernel * mask))
    shrunk = step(model, loss, after=lambda *_: kernel.assign(kernel * 0.9))
    assert verify.facts(pruned, *batch(), model=model).decayed == ()
    assert verify.facts(shrunk, *batch(), model=model).decayed == (kernel.path,)
