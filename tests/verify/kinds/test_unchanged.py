"""`unchanged=`: what a step does not write at all, and what writes back what was read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense
from tests.verify.updates import rejected, when
from verify.contracts import read
from verify.contracts.expectation import expectation
from verify.find import Detector
from verify.step import capture

Write = Callable[[Any, Any, Any], Any]
"""Writes a variable: (variable, a value of its shape that data decide, a gradient by it)."""


def set_back(v: Any, d: Any, g: Any) -> None:
    before = tf.identity(v)
    v.assign(v + d)
    v.assign(before)


def in_a_loop(v: Any, d: Any, g: Any, value: Callable[[Any], Any]) -> None:
    def turn(i: Any) -> Any:
        v.assign(value(v))
        return (i + 1,)

    tf.while_loop(lambda i: i < 3, turn, (tf.constant(0),))


COUNT = tf.Variable(0, trainable=False, dtype=tf.int64, name="count")
RATE = tf.Variable(0.0, trainable=False, name="rate")

LEFT: dict[str, Write] = {
    "assigned": lambda v, d, g: v.assign(v),
    "read_once": lambda v, d, g: v.assign(v.read_value()),
    "zero_added": lambda v, d, g: v.assign_add(tf.zeros_like(v)),
    "zero_gradient": lambda v, d, g: v.assign_sub(0.0 * g),
    "zero_rate": lambda v, d, g: v.assign_sub(0.1 * g * 0.0),
    "zero_data": lambda v, d, g: v.assign_add(0.0 * d),
    "mixed_with_itself": lambda v, d, g: v.assign(0.9 * v + 0.1 * v),
    "there_and_back": lambda v, d, g: v.assign((v + d) - d),
    "chosen_alike": lambda v, d, g: v.assign(tf.where(d > 0.0, v, v)),
    "momentum_one": lambda v, d, g: v.assign(v * 1.0 + d * (1.0 - 1.0)),
    "set_back": set_back,
    "never": lambda v, d, g: when(tf.constant(False), lambda: v.assign(d)),
    "in_a_branch": lambda v, d, g: when(COUNT > 3, lambda: v.assign(v)),
    "in_a_loop": lambda v, d, g: in_a_loop(v, d, g, lambda old: old * 1.0),
    "rows": lambda v, d, g: v.scatter_add(tf.IndexedSlices(tf.zeros((1, 3)), tf.constant([1]))),
    "shape": lambda v, d, g: v.assign(tf.reshape(tf.reshape(v, [-1]), [2, 3])),
    "not_at_all": lambda v, d, g: d + v,
}
CHANGED: dict[str, Write] = {
    "assigned": lambda v, d, g: v.assign(d),
    "zeroed": lambda v, d, g: v.assign(tf.zeros_like(v)),
    "gradient": lambda v, d, g: v.assign_sub(0.1 * g),
    "no_rate_today": lambda v, d, g: v.assign_sub(RATE * g),
    "tiny_rate": lambda v, d, g: v.assign_sub(1e-9 * g),
    "data": lambda v, d, g: v.assign_add(d),
    "average": lambda v, d, g: v.assign(0.999999 * v + 0.000001 * d),
    "shrunk": lambda v, d, g: v.assign(v * 0.9999999),
    "clipped": lambda v, d, g: v.assign(tf.clip_by_value(v, -0.1, 0.1)),
    "in_a_branch": lambda v, d, g: when(COUNT > 1000, lambda: v.assign(d)),
    "sometimes": lambda v, d, g: v.assign(tf.where((COUNT + 1) % 1000 == 0, d, v)),
    "by_masks": lambda v, d, g: v.assign_add(d * tf.cast(COUNT % 1000 == 999, tf.float32)),
    "in_a_loop": lambda v, d, g: in_a_loop(v, d, g, lambda old: old + 1.0),
    "rows": lambda v, d, g: v.scatter_add(tf.IndexedSlices(tf.ones((1, 3)), tf.constant([1]))),
    "random": lambda v, d, g: v.assign_add(tf.random.normal((2, 3))),
    "transposed": lambda v, d, g: v.assign(tf.reverse(v, [1])),
}


def step_of(writes: dict[str, Write], trainable: bool) -> Any:
    variables = {n: tf.Variable(tf.ones((2, 3)), trainable, name=n) for n in writes}

    @tf.function(autograph=False)
    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            reads = [tf.identity(v) for v in variables.values()]
            tape.watch(reads)
            loss = tf.add_n([tf.reduce_mean(tf.square(x @ v - 1.0)) for v in reads])
        gradients = tape.gradient(loss, reads)
        data = tf.reshape(tf.reduce_mean(x, axis=0)[:2], (2, 1)) * tf.ones((2, 3))
        for (name, variable), gradient in zip(variables.items(), gradients, strict=True):
            writes[name](variable, data, gradient)

    return step


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("size", [8, None])
def test_what_is_changed(trainable: bool, size: int | None) -> None:
    spec = tf.TensorSpec((size, 2))
    verify.assert_graph(step_of(LEFT, trainable), spec, unchanged="*")
    step = step_of(CHANGED, trainable)
    detector = Detector(capture(step, spec))
    changed = detector.changed.by(detector.step.variables)
    paths = {v.path for v in detector.step.variables if v.key in changed}
    assert paths == set(CHANGED)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    layers = [keras.layers.Dense(3, name="a"), keras.layers.BatchNormalization(name="b")]
    model = keras.Sequential(
        [keras.Input((4,)), *layers, keras.layers.Dense(1, name="c")], name="net"
    )
    model.layers[0].trainable = False
    model.compile(keras.optimizers.Adam(name="adam"), "mse", metrics=["mae"])
    return model


def test_every_kind_of_variable(model: keras.Model) -> None:
    verify.assert_graph(model, batch(), unchanged=["*/a/*", "adam/learning_rate"])
    message = rejected(model, batch(), unchanged=["*", "!*/a/*"])
    for line in (
        "unchanged: expected no write to",
        r"c/kernel is written by",
        "(trained)",
        "b/moving_mean is written by",
        "(a moving statistic)",
        "(state of an optimizer)",
        "adam/iteration is written by",
        "(a counter)",
    ):
        assert line in message
    assert "a/kernel" not in message


def test_what_is_asked_for(model: keras.Model) -> None:
    verify.assert_graph(model, batch(), unchanged=[])
    with pytest.raises(TypeError, match="unchanged: None selects nothing"):
        verify.assert_graph(model, batch(), unchanged=None)
    with pytest.raises(
        ValueError, match=r"'net/a/kernl' matches no variable.*Did you mean net/a/kernel"
    ):
        verify.assert_graph(model, batch(), unchanged="net/a/kernl")


@pytest.mark.parametrize(("said", "right"), [('["*/a/*"]', True), ('"*/b/*"', False), ("[]", True)])
def test_contracts(said: str, right: bool, model: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "some.graph.toml"
    path.write_text(f'[contracts.a]\ntarget = "m:f"\nunchanged = {said}\n')
    (contract,) = read(path)
    wanted = expectation(contract.place, contract.promise)
    assert (not wanted.violations_of(Detector(capture(model, batch())))) == right


def test_a_branch_is_asked_by_itself() -> None:
    flag = tf.Variable(True, trainable=False, name="flag")
    weight = tf.Variable(tf.ones(3), name="weight")

    @tf.function(autograph=False)
    def step(x: Any) -> Any:
        return tf.cond(flag, lambda: weight.assign_add(x) + 0.0, lambda: weight + 0.0)

    spec = tf.TensorSpec((3,))
    on, off = {"unchanged": []}, {"unchanged": ["weight"]}
    verify.assert_graph(step, spec, guards=[(flag, {True: on, False: off})])
    assert "(by hand)" in rejected(step, spec, guards=[(flag, {True: off, False: on})])


@pytest.mark.parametrize("inverted", [True, False])
def test_the_first_value_of_a_variable_is_no_write(inverted: bool) -> None:
    state = tf.Variable(tf.ones(3), name="state")

    @tf.function(autograph=False)
    def step(x: Any) -> Any:
        made = tf.raw_ops.VarIsInitializedOp(resource=state.handle)
        if inverted:
            when(tf.logical_not(made), lambda: state.assign(tf.zeros(3)))
        else:
            tf.cond(made, lambda: state + 0.0, lambda: state.assign(tf.zeros(3)) + 0.0)
        return state + x

    verify.assert_graph(step, tf.TensorSpec((3,)), unchanged="*")


def test_large_steps_are_told_by_what_they_write() -> None:
    table = tf.Variable(tf.zeros((1 << 10, 1 << 9)), name="table")
    step = tf.function(lambda x: table.assign(table + 0.0 * x))
    assert "table is written by" in rejected(step, tf.TensorSpec(()), unchanged="table")


def test_a_trained_model_changes_what_it_trains() -> None:
    trained = dense()
    trained.compile("sgd", "mse")
    message = rejected(trained, batch(), unchanged=trained.trainable_variables[:1])
    assert f"{trained.trainable_variables[0].path} is written by" in message
