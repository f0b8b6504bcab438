"""What all layers have in common, for each of them: equations, gradients, dtypes, files, seeds."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from inalu.schedules import Ramp
from tests.inalu.layers.family import (
    CASES,
    FEATURES,
    UNITS,
    Case,
    build,
    expected,
    expected_penalty,
    samples,
    values,
)

pytestmark = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def assert_close(found: Any, wanted: Any, tolerance: float) -> None:
    """Relative to the largest output of the same sample."""
    assert found.shape == wanted.shape
    scale = np.abs(wanted).max(axis=-1, keepdims=True)
    assert (np.abs(found - wanted) <= tolerance * scale).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_equation(case: Case, dtype: str, tolerance: float) -> None:
    layer, x = build(case, dtype=dtype), samples(dtype)
    wanted = expected(case, x, values(layer))
    assert_close(np.asarray(layer(x), "float64"), wanted, tolerance)


def test_any_batch_shape(case: Case) -> None:
    layer, x = build(case), samples("float32")
    flat = layer(x)
    wanted = (2 * UNITS if case is CASES["NSR"] else UNITS,)
    for leading in [(3, 4), (2, 3, 2), (12, 1)]:
        y = layer(x.reshape(*leading, FEATURES))
        assert y.shape == (*leading, *wanted)
        np.testing.assert_allclose(np.reshape(y, flat.shape), flat, rtol=1e-5)
    assert layer(x[0]).shape == wanted
    assert layer.compute_output_shape((None, 5, FEATURES)) == (None, 5, *wanted)
    assert layer(keras.Input((FEATURES,))).shape == (None, *wanted)


def test_integers_are_numbers(case: Case) -> None:
    layer = build(case)
    x = np.array([[1, -2, 0, 3]])
    np.testing.assert_array_equal(layer(x), layer(x.astype("float32")))


def test_gradients(case: Case) -> None:
    """Of outputs and regulariser, against differences of the equations written down once more."""
    layer = build(case, dtype="float64")
    names, weights = [w.name for w in layer.weights], values(layer)
    weights["x"] = samples()[5:9]
    towards = np.random.default_rng(2).normal(size=layer(weights["x"]).shape)

    def total() -> float:
        own = {name: weights[name] for name in names}
        y = expected(case, weights["x"], own)
        return float(np.sum(towards * y)) + expected_penalty(case, own)

    x = tf.constant(weights["x"])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(towards * layer(x)) + layer.regularization()
    found = tape.gradient(loss, [x, *(getattr(layer, name).value for name in names)])
    for name, gradient in zip(["x", *names], map(np.asarray, found), strict=True):
        for index in np.ndindex(gradient.shape):
            start = weights[name][index]
            step = 1e-6 * max(1.0, abs(start))
            ends = []
            for end in (start - step, start + step):
                weights[name][index] = end
                ends.append(total())
            weights[name][index] = start
            numeric = (ends[1] - ends[0]) / (2 * step)
            assert gradient[index] == pytest.approx(numeric, rel=1e-5, abs=1e-7), name


def test_gradients_are_finite_at_zeros(case: Case) -> None:
    layer = build(case)
    x = tf.constant(samples("float32")[:3])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    for gradient in tape.gradient(y, [x, *(w.value for w in layer.weights)]):
        assert np.isfinite(gradient).all()


def test_compiled_by_xla(case: Case) -> None:
    layer, x = build(case), tf.constant(samples("float32"))

    def step() -> Any:
        with tf.GradientTape() as tape:
            y = layer(x)
        return y, tape.gradient(y, [w.value for w in layer.weights])

    for compiled, eager in zip(
        tf.nest.flatten(tf.function(step, jit_compile=True)()), tf.nest.flatten(step()), strict=True
    ):
        scale = float(tf.reduce_max(tf.abs(eager)))
        np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=1e-5 * scale)


def test_mixed_precision(case: Case) -> None:
    """Only outputs are rounded, and no larger than float16 can be."""
    layer, x = build(case, dtype="mixed_float16"), samples("float32")
    y, precise = np.asarray(layer(x)), np.asarray(build(case)(x))
    assert {w.dtype for w in layer.weights} == {"float32"}
    assert y.dtype == np.float16
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y, np.clip(precise, -65504, 65504), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_half_precision(case: Case, policy: str) -> None:
    """Weights are rounded, too, and nothing else is."""
    layer, same = build(case, dtype=policy), build(case)
    assert {w.dtype for w in layer.weights} == {policy}
    for weight, half in zip(same.weights, layer.weights, strict=True):
        weight.assign(np.asarray(half, "float32"))
    x = samples("float32")[5:]
    np.testing.assert_allclose(
        np.asarray(layer(x), "float32"), same(x), rtol=1e-2 if policy == "bfloat16" else 1e-3
    )


def test_regularization(case: Case) -> None:
    layer = build(case, strength=0.25)
    layer(samples("float32"))
    penalty = expected_penalty(case, values(layer))
    assert float(layer.regularization()) == pytest.approx(penalty, rel=1e-5)
    wanted = [pytest.approx(0.25 * penalty, rel=1e-5)] if case.penalty else []
    assert [float(loss) for loss in layer.losses] == wanted


def test_model_file(case: Case, tmp_path: Any) -> None:
    """Outputs, schedule and the values drawn next are those of the saved model."""
    kept = {"seed": 3, "strength": Ramp(0.5, 10, 20)}
    layers = [build(case, **kept), case.make(1, **kept, name="last")]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers])
    layers[0].reinitialize()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = samples("float32")
    np.testing.assert_array_equal(again(x), model(x))
    for layer, other in zip(layers, again.layers, strict=True):
        assert type(other) is type(layer)
        assert other.get_config() == layer.get_config()
        assert isinstance(other.strength, Ramp)
        assert float(other.strength(15)) == 0.25
        for _ in range(2):
            layer.reinitialize()
            other.reinitialize()
            for name, value in values(layer).items():
                np.testing.assert_array_equal(values(other)[name], value)


def test_config(case: Case) -> None:
    common = {"strength": 0.5, "seed": 4, "name": "arithmetic", "dtype": "mixed_float16"}
    layer = case.make(UNITS, **{**common, **case.options})
    config = layer.get_config()
    again = type(layer).from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    for each in (layer, again):
        each.build((None, FEATURES))
    for name, value in values(layer).items():
        np.testing.assert_array_equal(values(again)[name], value)
    x = samples("float32")
    np.testing.assert_array_equal(again(x), layer(x))


def test_initial_values(case: Case) -> None:
    """At first and after each `reinitialize`: new ones, from one distribution."""
    layer = case.make(40)
    layer.build((None, 60))
    assert set(values(layer)) == set(case.initial)
    seen: list[dict[str, Any]] = []
    for _ in range(3):
        seen.append(values(layer))
        layer.reinitialize()
    for name, (mean, deviation) in case.initial.items():
        for drawn in seen:
            error = 4 * deviation / drawn[name].size ** 0.5
            assert drawn[name].mean() == pytest.approx(mean, abs=error)
            assert drawn[name].std() == pytest.approx(deviation, abs=error)
        same = [(seen[i][name] == seen[j][name]).mean() for i, j in [(0, 1), (1, 2), (0, 2)]]
        assert same == ([1.0] * 3 if deviation == 0 else pytest.approx([0.0] * 3, abs=0.01))


def test_seed(case: Case) -> None:
    """One seed and name: the same values, also after `reinitialize`. Else: others."""

    def drawn(**kwargs: Any) -> list[Any]:
        layer = case.make(UNITS, **kwargs)
        layer.build((None, FEATURES))
        first = list(layer.get_weights())
        layer.reinitialize()
        return [first[0], layer.get_weights()[0]]  # the first weight is random in all layers

    once = drawn(seed=5, name="a")
    np.testing.assert_array_equal(drawn(seed=5, name="a"), once)
    for other in (drawn(seed=5, name="b"), drawn(seed=6, name="a")):
        assert all((a != b).all() for a, b in zip(once, other, strict=True))


def test_seed_of_all_random_numbers(case: Case) -> None:
    """It repeats all layers made after it, however often the first is called in between."""

    def drawn(calls: int) -> Any:
        keras.utils.set_random_seed(1)
        first, x = build(case), samples("float32")
        for _ in range(calls):
            first(x)
        second = case.make(UNITS)
        second.build((None, FEATURES))
        return second.get_weights()[0]

    np.testing.assert_array_equal(drawn(calls=3), drawn(calls=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "units is 0, expected an integer of at least 1"),
        ({"units": 1.5}, "units is 1.5"),
        ({"units": 1, "strength": -1}, "strength is -1, expected a number of at least 0 or a sch"),
        ({"units": 1, "strength": float("nan")}, "strength is nan"),
        ({"units": 1, "strength": "weak"}, "strength is 'weak'"),
        ({"units": 1, "strength": None}, "strength is None"),
    ],
)
def test_wrong_arguments(case: Case, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        case.make(**arguments)


def test_of_a_layer_that_is_not_built(case: Case) -> None:
    layer = case.make(UNITS, name="early")
    for use in (layer.reinitialize, layer.regularization, layer.discrete, layer.explain):
        with pytest.raises(ValueError, match="early is not built, it has no weights yet"):
            use()
    with pytest.raises(ValueError, match="last axis of the input must be known"):
        layer.build((None, None))
