"""Which part of a step an op belongs to is told by dataflow."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.verify.contracts import shop
from tests.verify.steps import batch, dense, step
from verify.find import Detector
from verify.picture.clusters import clusters
from verify.step import capture

VARIABLES = ("Placeholder", "ReadVariableOp")


def ops_of(target: Any, *args: Any, model: Any = None) -> dict[str, set[str]]:
    """Op types by cluster."""
    detector = Detector(capture(target, *args, model=model))
    found: dict[str, set[str]] = {}
    for node, part in zip(detector.flat.nodes, clusters(detector), strict=True):
        found.setdefault(part, set()).add(node.op)
    return found


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "adamw"])
def test_every_part_of_a_train_step(optimizer: str) -> None:
    model = dense(kernel="l2")
    model.compile(
        keras.optimizers.get({"class_name": optimizer, "config": {"clipvalue": 0.5}}), "mse"
    )
    found = ops_of(model, batch())
    assert {"MatMul", "Tanh", "BiasAdd"} <= found["forward"]
    assert {"Square", "Sub"} <= found["loss"]
    assert "MatMul" not in found["loss"]
    assert {"Square", "Sum"} <= found["regularization"]
    assert {"MatMul", "TanhGrad"} <= found["backward"]
    assert {"Minimum", "Maximum"} <= found["clip"]
    assert "AssignSubVariableOp" in found["optimizer"]
    assert not {"MatMul", "Maximum", "TanhGrad"} & found["optimizer"]


def test_a_step_without_a_clip() -> None:
    found = ops_of(step(dense(), keras.losses.Huber()), *batch())
    assert "clip" not in found
    assert "regularization" not in found
    assert {"MatMul", "BiasAddGrad"} & found["backward"]
    assert "AssignSubVariableOp" in found["optimizer"]


def test_a_metric_is_no_loss() -> None:
    model = dense()
    model.compile("sgd", "mse", metrics=["mae"])
    found = ops_of(model, batch())
    assert "Abs" in found["metrics and state"]
    assert "Abs" not in found["loss"]


def test_a_loss_begins_where_the_prediction_ends() -> None:
    """Keras takes the logits of a softmax from before it, and reshapes them."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    model.compile("sgd", "categorical_crossentropy")
    found = ops_of(model, (tf.TensorSpec((8, 4)), tf.TensorSpec((8, 3))))
    assert {"Reshape", "SoftmaxCrossEntropyWithLogits"} <= found["loss"]
    assert {"MatMul", "BiasAdd"} <= found["forward"] <= {"MatMul", "BiasAdd", *VARIABLES}


def test_a_prediction_that_leads_to_another_is_no_loss() -> None:
    x = keras.Input((4,))
    early = keras.layers.Dense(2, name="early")(x)
    late = keras.layers.Dense(1, "tanh", name="late")(early)
    model = keras.Model(x, [early, late])
    model.compile("sgd", ["mse", "mse"])
    batch = tf.TensorSpec((8, 4)), (tf.TensorSpec((8, 2)), tf.TensorSpec((8, 1)))
    found = ops_of(model, batch)
    assert {"MatMul", "Tanh"} <= found["forward"]
    assert not {"MatMul", "Tanh"} & found["loss"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_nothing_depends_on_is_unused(optimizer: str) -> None:
    """The gradient of a quotient by its divisor, which is a number: TensorFlow leaves it there."""
    model = dense()
    model.compile(optimizer, "mse")
    detector = Detector(capture(model, batch()))
    parts, flow = clusters(detector), detector.flow
    unused = {index for index, part in enumerate(parts) if part == "unused"}
    assert "Neg" in {flow.flat.nodes[index].op for index in unused}
    written = flow.ancestors(node.index for node, _ in flow.flat.writes())
    returned = flow.ancestors(index for index, _ in flow.flat.outputs)
    assert unused.isdisjoint(written | returned)
    rest = set(range(len(parts))) - (unused | written | returned)
    # What others wait for, and what is looked through.
    assert {flow.flat.nodes[index].op for index in rest} <= {"NoOp", "IdentityN"}


def test_a_norm_of_all_gradients_is_of_the_clip() -> None:
    model = dense()
    model.compile(keras.optimizers.SGD(global_clipnorm=1.0), "mse")
    found = ops_of(model, batch())
    assert {"Square", "Sum", "Sqrt", "RealDiv"} <= found["clip"]
    assert "Sqrt" not in found["backward"]
    assert {"MatMul", "TanhGrad"} <= found["backward"]
    assert not {"MatMul", "TanhGrad"} & found["clip"]


@pytest.mark.parametrize("optimizer", ["adamw", keras.optimizers.SGD(weight_decay=0.01)])
def test_weight_decay_is_of_the_optimizer(optimizer: Any) -> None:
    model = dense()
    model.compile(keras.optimizers.get(optimizer), "mse")
    detector = Detector(capture(model, batch()))
    parts = clusters(detector)
    decays = {u.node.index for u in detector.flow.updates} - {
        u.node.index for u in detector.flow.trained
    }
    assert len(decays) == len(detector.decayed) > 0
    assert {parts[index] for index in decays} == {"optimizer"}


def test_gradients_that_wait_are_accumulated() -> None:
    model = dense()
    model.compile(keras.optimizers.SGD(gradient_accumulation_steps=3), "mse")
    detector = Detector(capture(model, batch()))
    parts = clusters(detector)
    kept = {v.key for _, v in detector.flat.writes() if not v.trainable and "accum" in v.path}
    writes = [node.index for node, v in detector.flat.writes() if v.key in kept]
    assert len(kept) == len(model.trainable_variables)
    assert {parts[index] for index in writes} == {"accumulation"}
    assert parts.count("optimizer") > 0


def test_gradients_that_are_assigned_to_a_sum_are_accumulated_too() -> None:
    weight, total = tf.Variable(2.0, name="weight"), tf.Variable(0.0, trainable=False, name="total")
    count = tf.Variable(0, trainable=False, name="count")

    @tf.function
    def waits(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((weight * x - y) ** 2)
        total.assign(total + tape.gradient(loss, weight))
        count.assign_add(1)
        if count % 4 == 0:
            weight.assign_sub(0.1 * total / 4.0)
            total.assign(0.0)

    found = ops_of(waits, tf.TensorSpec((8,)), tf.TensorSpec((8,)))
    assert found["accumulation"] >= {"AddV2", "AssignVariableOp"}
    assert "AssignSubVariableOp" in found["optimizer"]


def test_a_step_without_accumulation_has_none_whatever_its_optimizer_keeps() -> None:
    model = dense()
    model.compile("adam", "mse")
    assert "accumulation" not in ops_of(model, batch())


def test_what_a_loop_keeps_for_the_way_back_is_no_metric() -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input((6, 4)), layers.GRU(3), layers.Dense(1)])
    model.compile("sgd", "mse")
    detector = Detector(capture(model, (tf.TensorSpec((2, 6, 4)), tf.TensorSpec((2, 1)))))
    parts, flow = clusters(detector), detector.flow
    loops = [node.index for node in flow.flat.nodes if flow.flat.loops(node.path)]
    needed = flow.ancestors(update.node.index for update in flow.trained)
    assert len(needed.intersection(loops)) > 20
    assert "metrics and state" not in {parts[index] for index in needed.intersection(loops)}


def test_averages_follow() -> None:
    weight, average = tf.Variable(2.0, name="weight"), tf.Variable(2.0, trainable=False, name="ema")

    @tf.function
    def follows(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((weight * x - y) ** 2)
        weight.assign_sub(0.1 * tape.gradient(loss, weight))
        average.assign(0.9 * average + 0.1 * weight)

    found = ops_of(follows, tf.TensorSpec((8,)), tf.TensorSpec((8,)))
    assert {"AssignVariableOp", "AddV2", "Mul"} <= found["averages"]


def test_branches_have_losses_of_their_own() -> None:
    detector = Detector(capture(*shop.main()))
    parts = clusters(detector)
    for branch in ("then_branch", "else_branch"):
        there = {
            part
            for node, part in zip(detector.flat.nodes, parts, strict=True)
            if any(branch in site for site in node.path)
        }
        assert {"forward", "loss", "backward", "optimizer"} <= there


def test_a_step_that_trains_nothing_predicts() -> None:
    model = dense()
    found = ops_of(tf.function(lambda x: model(x)), batch()[0])
    assert {"MatMul", "Tanh"} <= found["forward"]
    assert not {"loss", "backward", "optimizer"} & found.keys()
