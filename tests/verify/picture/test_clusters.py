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
