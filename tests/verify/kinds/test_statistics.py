"""`statistics=`: which variables are mixtures of what they held and of data, however written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch
from tests.verify.updates import rejected, when
from verify.contracts import read
from verify.contracts.expectation import expectation
from verify.find import Detector
from verify.step import capture

COUNT = tf.Variable(0, trainable=False, dtype=tf.int64, name="count")
SEEN = tf.Variable(0.0, trainable=False, name="seen")
MOMENTUM = tf.Variable(0.9, trainable=False, name="momentum")
STUDENT = tf.Variable(tf.ones((2, 3)), name="student")

Write = Callable[[Any, Any, Any], Any]
"""Writes a variable of shape (2, 3): (variable, data of its shape, the batch)."""


def twice(v: Any, d: Any, x: Any) -> None:
    v.assign(0.9 * v + 0.1 * d)
    v.assign(0.9 * v + 0.1 * tf.square(d))


def loop(v: Any, d: Any, x: Any) -> None:
    def turn(i: Any) -> Any:
        v.assign(0.9 * v + 0.1 * d * tf.cast(i, tf.float32))
        return (i + 1,)

    tf.while_loop(lambda i: i < 3, turn, (tf.constant(1),))


def codes(v: Any, d: Any, x: Any) -> None:
    """Rows that are the nearest to no data stay as they are."""
    far = tf.reduce_sum(tf.square(d[:, None] - v[None]), -1)
    hot = tf.one_hot(tf.argmin(far, axis=1), 2)
    counts = tf.reduce_sum(hot, axis=0)[:, None]
    mean = tf.matmul(hot, d, transpose_a=True) / tf.maximum(counts, 1.0)
    v.assign(tf.where(counts > 0.0, 0.9 * v + 0.1 * mean, v))


MOVING: dict[str, Write] = {
    "assigned": lambda v, d, x: v.assign(0.9 * v + 0.1 * d),
    "subtracted": lambda v, d, x: v.assign_sub(0.1 * (v - d)),
    "added": lambda v, d, x: v.assign_add(0.1 * (d - v)),
    "divided": lambda v, d, x: v.assign((9.0 * v + d) / 10.0),
    "no_memory": lambda v, d, x: v.assign(v * 0.0 + d),
    "replaced": lambda v, d, x: v.assign(d),
    "by_a_variable": lambda v, d, x: v.assign(MOMENTUM * v + (1.0 - MOMENTUM) * d),
    "in_a_branch": lambda v, d, x: when(COUNT > 1000, lambda: v.assign(0.9 * v + 0.1 * d)),
    "sometimes": lambda v, d, x: v.assign(tf.where((COUNT + 1) % 1000 == 0, 0.9 * v + 0.1 * d, v)),
    "twice": twice,
    "in_a_loop": loop,
    "half": lambda v, d, x: v.assign(0.9 * v + 0.1 * tf.cast(tf.cast(d, tf.float16), tf.float32)),
    "of_all_so_far": lambda v, d, x: v.assign_add((d - v) / (SEEN + 1.0)),
    "variance": lambda v, d, x: v.assign(0.9 * v + 0.1 * tf.square(d) * 8.0 / 7.0),
    "codes": codes,
    "moments": lambda v, d, x: v.assign(
        0.9 * v + 0.1 * tf.math.reduce_variance(x[:, :1]) * tf.ones((2, 3))
    ),
    "if_finite": lambda v, d, x: v.assign(
        tf.where(tf.reduce_all(tf.math.is_finite(x)), 0.9 * v + 0.1 * d, v)
    ),
}
NOT_MOVING: dict[str, Write] = {
    "sum": lambda v, d, x: v.assign_add(d),
    "sum_assigned": lambda v, d, x: v.assign(v + d),
    "momentum_one": lambda v, d, x: v.assign(v * 1.0 + d * (1.0 - 1.0)),
    "not_of_data": lambda v, d, x: v.assign(0.9 * v + 0.1),
    "zero_data": lambda v, d, x: v.assign(0.9 * v + 0.0 * d),
    "shrinks_by_data": lambda v, d, x: v.assign(v * tf.sigmoid(d)),
    "grows": lambda v, d, x: v.assign(1.1 * v + 0.1 * d),
    "alternates": lambda v, d, x: v.assign(d - 0.5 * v),
    "greatest": lambda v, d, x: v.assign(tf.maximum(v, tf.abs(d) + 2.0) + v * v),
    "state": lambda v, d, x: v.assign(tf.tanh(v + d)),
    "queue": lambda v, d, x: v.assign(tf.concat([d[:1], v[:1]], axis=0)),
    "row": lambda v, d, x: v.scatter_update(tf.IndexedSlices(d[:1], tf.constant([1]))),
    "of_weights": lambda v, d, x: v.assign(0.9 * v + 0.1 * STUDENT),
    "never": lambda v, d, x: when(tf.constant(False), lambda: v.assign(0.9 * v + 0.1 * d)),
    "itself": lambda v, d, x: v.assign(v),
    "left_alone": lambda v, d, x: v + d,
}


def step_of(writes: dict[str, Write]) -> Any:
    variables = {n: tf.Variable(tf.ones((2, 3)), trainable=False, name=n) for n in writes}

    @tf.function(autograph=False)
    def step(x: Any) -> None:
        data = tf.matmul(x, x, transpose_a=True)[:2, :3] / tf.cast(tf.shape(x)[0], tf.float32)
        for name, variable in variables.items():
            writes[name](variable, data, x)

    return step


@pytest.mark.parametrize("size", [8, None])
def test_what_moves(size: int | None) -> None:
    spec = tf.TensorSpec((size, 4))
    assert verify.facts(step_of(MOVING), spec).written.statistics == tuple(sorted(MOVING))
    assert verify.facts(step_of(NOT_MOVING), spec).written.statistics == ()


def model(momentum: float = 0.99, policy: str | None = None, **compiled: Any) -> keras.Model:
    layers = [
        keras.layers.Dense(3, dtype=policy),
        keras.layers.BatchNormalization(momentum=momentum, name="one", dtype=policy),
        keras.layers.Dense(3, dtype=policy),
        keras.layers.BatchNormalization(momentum=momentum, name="two", dtype=policy),
        keras.layers.Dense(1),
    ]
    made = keras.Sequential([keras.Input((4,)), *layers], name="net")
    made.compile("adam", "mse", metrics=["mae"], **compiled)
    return made


@pytest.mark.parametrize("policy", [None, "mixed_bfloat16"])
@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_batch_normalization(momentum: float, policy: str | None) -> None:
    verify.assert_graph(model(momentum, policy), batch(None), statistics=["*moving_*"])


def test_that_of_momentum_one_does_not_move() -> None:
    frozen = model(1.0)
    verify.assert_graph(frozen, batch(), statistics=None)
    message = rejected(frozen, batch(), statistics="*one*")
    assert "not moved: net/one/moving_mean, net/one/moving_variance" in message
    assert "is not a mixture" in message


def test_layers_that_are_frozen_or_in_inference_mode() -> None:
    half = model()
    half.get_layer("one").trainable = False
    half.compile("sgd", "mse")
    verify.assert_graph(half, batch(), statistics="*two*")
    for glob in ("*moving_*", "*one*", "net/one/moving_mean"):
        message = rejected(half, batch(), statistics=glob)
        assert "not moved: net/one/moving_mean" in message
        assert "runs in inference mode, or is frozen" in message
    verify.assert_graph(half.test_step, batch(), statistics=[])


def test_what_is_asked_for() -> None:
    whole = model()
    assert "too many: net/two/moving_mean" in rejected(whole, batch(), statistics="*one*")
    assert "net/one/moving_mean" in rejected(whole, batch(), statistics=None)
    with pytest.raises(ValueError, match=r"statistics: 'net/one/moving_men' .*Did you mean"):
        verify.assert_graph(whole, batch(), statistics="net/one/moving_men")


def test_as_fit_runs_it() -> None:
    fitted = model(jit_compile=True, steps_per_execution=3)
    fitted.make_train_function()
    verify.assert_graph(fitted.train_function, batch(), statistics="*moving_*")


def test_a_layer_that_is_called_twice() -> None:
    normal = keras.layers.BatchNormalization(name="normal")
    inputs = keras.Input((4,))
    output = keras.layers.Dense(1)(normal(normal(inputs) + 1.0))
    twice_ = keras.Model(inputs, output)
    twice_.compile("sgd", "mse")
    verify.assert_graph(twice_, batch(), statistics="normal/*")
    facts = verify.facts(twice_, batch())
    assert facts.written.statistics == ("normal/moving_mean", "normal/moving_variance")
    assert facts.written.metrics == ("loss/total",)
    assert "moving statistics normal/moving_mean" in str(facts)


def test_what_is_made_of_weights_alone_is_not_asked_to_move() -> None:
    layer = keras.layers.SpectralNormalization(keras.layers.Dense(3))
    layers = [layer, keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    normed = keras.Sequential([keras.Input((4,)), *layers])
    normed.compile("sgd", "mse")
    verify.assert_graph(normed, batch(), statistics="*")


def test_metrics_do_not_move() -> None:
    layer = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    metrics = [keras.metrics.AUC(), keras.metrics.R2Score(), keras.metrics.F1Score()]
    layer.compile("sgd", "mse", metrics=[*metrics, "accuracy", "mae"])
    verify.assert_graph(layer, batch(), statistics=None)


@pytest.mark.parametrize(("said", "right"), [('"*moving_*"', True), ('"*mean"', False)])
def test_contracts(said: str, right: bool, tmp_path: Path) -> None:
    path = tmp_path / "some.graph.toml"
    path.write_text(f'[contracts.a]\ntarget = "m:f"\nstatistics = {said}\n')
    (contract,) = read(path)
    wanted = expectation(contract.place, contract.promise)
    assert (not wanted.violations_of(Detector(capture(model(), batch())))) == right
