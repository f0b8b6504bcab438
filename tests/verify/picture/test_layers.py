"""Ops stand in the layers that a person has written, whatever TensorFlow calls them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import keras
import pytest
import tensorflow as tf

from verify.picture.groups import Group
from verify.picture.outline import outline
from verify.picture.places import Places
from verify.step import capture

BATCH = (tf.TensorSpec((8, 6)), tf.TensorSpec((8, 2)))


def submodels() -> keras.Model:
    encoder = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, "relu", name="wide"),
            keras.layers.Dropout(0.1, name="drop"),
            keras.layers.BatchNormalization(name="norm"),
        ],
        name="encoder",
    )
    decoder = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(2, name="out")], name="decoder"
    )
    x = keras.Input((6,))
    return keras.Model(x, decoder(encoder(x)), name="both")


def by_cluster(target: Any, *args: Any) -> dict[str, Group]:
    return outline(Places(capture(target, *args))).root.groups


def groups(group: Group, around: str = "") -> Iterator[tuple[str, Group]]:
    for inner in group.groups.values():
        path = f"{around}/{inner.name}" if around else inner.name
        yield path, inner
        yield from groups(inner, path)


def ops(group: Group) -> set[str]:
    return {op["op"] for op in group.ops}.union(*(ops(g) for g in group.groups.values()))


@pytest.fixture(scope="module")
def trained() -> dict[str, Group]:
    model = submodels()
    model.compile("adam", "mse")
    return by_cluster(model, BATCH)


@pytest.mark.parametrize("cluster", ["forward", "backward", "optimizer"])
def test_layers_stand_in_their_submodels(cluster: str, trained: dict[str, Group]) -> None:
    found = {re.sub("^(both|adam)/", "", path): group for path, group in groups(trained[cluster])}
    assert {"encoder", "encoder/wide", "encoder/norm", "decoder/out"} <= found.keys()
    wanted = {"forward": "MatMul", "backward": "MatMul", "optimizer": "AssignSubVariableOp"}
    assert wanted[cluster] in ops(found["encoder/wide"])
    assert wanted[cluster] in ops(found["decoder/out"])


def test_no_group_is_called_after_an_op_or_numbered_by_tensorflow(
    trained: dict[str, Group],
) -> None:
    names = {g.name for c in trained.values() for _, g in groups(c)}
    assert not {"Cast", "MatMul", "BiasAdd", "Add", "Cast_1", "mul"} & names
    assert not [n for n in names if n.endswith("_1") or " to " in n]
    # What a layer calls its own parts is worth a look, and what has no variables is a layer.
    assert any("moments" in name for name in names)
    assert any("drop" in name for name in names)


def test_an_optimizer_s_ops_are_with_the_layer_that_they_update(
    trained: dict[str, Group],
) -> None:
    wide = next(g for path, g in groups(trained["optimizer"]) if path.endswith("wide"))
    assert {"Square", "Sqrt", "AssignAddVariableOp", "AssignSubVariableOp"} <= ops(wide)


def test_backpropagation_is_no_part_of_the_optimizer(trained: dict[str, Group]) -> None:
    """Though what normalises a batch adds the gradient of its bias to another, op by op."""
    ids = [op["id"] for op in all_ops(trained["optimizer"])]
    assert not [name for name in ids if "tape" in name and "wide" in name]


def all_ops(group: Group) -> list[dict[str, Any]]:
    return group.ops + [op for inner in group.groups.values() for op in all_ops(inner)]


def test_a_layer_that_is_called_twice_is_two_groups() -> None:
    layer = keras.layers.Dense(6, name="again")
    layer.build((None, 6))

    def step(x: tf.Tensor) -> tf.Tensor:
        return layer(tf.tanh(layer(x)))

    forward = by_cluster(tf.function(step), BATCH[0])["forward"]
    assert {"again", "again (2)"} <= forward.groups.keys()
    assert all("MatMul" in ops(forward.groups[name]) for name in ("again", "again (2)"))


def test_without_scopes_the_variables_tell() -> None:
    first, second = (
        tf.Variable(tf.ones((6, 6)), name=f"{name}/kernel") for name in ("first", "second")
    )

    def step(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.tanh(tf.tanh(x @ first) @ second))
        for weight, gradient in zip(
            (first, second), tape.gradient(loss, [first, second]), strict=True
        ):
            weight.assign_sub(0.1 * gradient)

    found = by_cluster(tf.function(step), BATCH[0])
    assert "MatMul" in ops(found["forward"].groups["first"])
    assert {"MatMul", "Tanh"} <= ops(found["forward"].groups["second"])
    assert "MatMul" in ops(found["backward"].groups["first"])
    assert "AssignSubVariableOp" in ops(found["optimizer"].groups["second"])
