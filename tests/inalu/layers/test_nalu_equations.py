"""NALU against equations 2.6 to 2.15, written down once more in NumPy and float64."""

from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from inalu import NALU
from inalu.layers.nalu import sparsity

EPSILON, OMEGA, T = 1e-7, 20.0, 20.0
WEIGHTS = ("w_a", "m_a", "w_m", "m_m", "g")
HAZARDS = [0.0, -0.0, 1e30, -1e30, 1e-30, -1e-30, 1e-7, -1e-7, 1.0, -1.0, 3.0, -2.5]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(x, v):
    """(y, size of the terms y is a sum of), one sample and one output at a time."""
    samples, features = x.shape
    outputs = len(v["g"])
    y, size = np.zeros((samples, outputs)), np.zeros((samples, outputs))
    weights_a = np.tanh(v["w_a"]) * sigmoid(v["m_a"])
    weights_m = np.tanh(v["w_m"]) * sigmoid(v["m_m"])
    gate = sigmoid(v["g"])
    for n, o in product(range(samples), range(outputs)):
        a, terms, exponent, msv = 0.0, 0.0, 0.0, 1.0
        for i in range(features):
            a += weights_a[i, o] * x[n, i]
            terms += abs(weights_a[i, o] * x[n, i])
            exponent += np.log(max(abs(x[n, i]), EPSILON)) * weights_m[i, o]
            msv *= np.sign(x[n, i]) * abs(weights_m[i, o]) + 1 - abs(weights_m[i, o])
        m = np.exp(min(exponent, OMEGA))
        y[n, o] = gate[o] * a + (1 - gate[o]) * m * msv
        # 1 - g has the absolute error of g, however near to 0 it is.
        size[n, o] = gate[o] * terms + (1 - gate[o] + 0.01) * m
    return y, size


def regulariser(v):
    total = 0.0
    for name in WEIGHTS:
        values = [max(min(-w, w) + T, 0.0) for w in v[name].ravel()]
        total += sum(values) / len(values)
    return total / T


def build(features, units, seed=0, scale=2.0, dtype="float32"):
    """A layer with weights far from its initial values, and these in float64."""
    layer = NALU(units, dtype=dtype)
    layer.build((None, features))
    rng = np.random.default_rng(seed)
    for name in WEIGHTS:
        variable = getattr(layer, name)
        variable.assign(rng.normal(0, scale, variable.shape))
    return layer, values(layer)


def values(layer):
    return {name: np.asarray(getattr(layer, name), np.float64) for name in WEIGHTS}


def assert_follows(layer, x, v, tolerance=1e-5):
    expected, size = forward(x.astype(np.float64), v)
    got = np.asarray(layer(x), np.float64)
    assert got.shape == expected.shape
    assert np.isfinite(got).all()
    np.testing.assert_array_less(np.abs(got - expected), tolerance * size + 1e-30)


@pytest.mark.parametrize(("features", "units"), [(7, 3), (3, 2), (2, 1), (1, 1), (1, 4)])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 3.0, 100.0])
def test_random_inputs(features, units, spread):
    layer, v = build(features, units)
    x = np.random.default_rng(1).normal(0, spread, (64, features)).astype(np.float32)
    assert_follows(layer, x, v)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [0.1, 2.0, 30.0])
def test_hazardous_inputs(dtype, scale):
    layer, v = build(2, 3, scale=scale, dtype=dtype)
    x = np.array(list(product(HAZARDS, repeat=2)), dtype)
    # float32 has 7 digits: a relative error of 1e-5 in exp is what is left of them where
    # the exponent is a difference of logarithms of 1e30, hence the few weights and inputs.
    assert_follows(layer, x, v, tolerance=1e-5 if dtype == "float32" else 1e-12)


def test_initial_weights_follow_too():
    layer = NALU(3)
    layer.build((None, 7))
    x = np.random.default_rng(2).uniform(-3, 3, (32, 7)).astype(np.float32)
    assert_follows(layer, x, values(layer))


@given(
    features=st.integers(1, 4),
    units=st.integers(1, 3),
    seed=st.integers(0, 2**16),
    data=st.data(),
)
def test_any_inputs(features, units, seed, data):
    layer, v = build(features, units, seed, dtype="float64")
    number = st.sampled_from(HAZARDS) | st.floats(-1e30, 1e30)
    row = st.lists(number, min_size=features, max_size=features)
    x = np.array(data.draw(st.lists(row, min_size=1, max_size=4)), np.float64)
    assert_follows(layer, x, v, tolerance=1e-10)


def test_sign_with_two_outputs():
    """The sign of output o uses column o: x1 alone, then x2 alone, of opposite signs.

    The authors' code pairs weights and inputs in different orders, and fails here.
    """
    layer, _ = build(2, 2)
    far = 40.0
    select = np.array([[far, 0.0], [0.0, far]], np.float32)
    layer.w_m.assign(select)
    layer.m_m.assign(np.full((2, 2), far))
    layer.g.assign(np.full(2, -far))
    x = np.array([[-2.0, 3.0], [2.0, -3.0], [-2.0, -3.0]], np.float32)
    np.testing.assert_allclose(layer(x), x, rtol=1e-5)
    layer.w_m.assign(np.array([[far, far], [0.0, far]], np.float32))
    np.testing.assert_allclose(layer(x), np.stack([x[:, 0], x.prod(axis=1)], axis=1), rtol=1e-5)


def test_products_and_quotients_keep_their_sign():
    layer, _ = build(2, 1)
    layer.m_m.assign(np.full((2, 1), 40.0))
    layer.g.assign([-40.0])
    x = np.array([[6.0, 2.0], [-6.0, 2.0], [6.0, -2.0], [-6.0, -2.0]], np.float32)
    layer.w_m.assign(np.full((2, 1), 40.0))
    np.testing.assert_allclose(layer(x), x[:, :1] * x[:, 1:], rtol=1e-5)
    layer.w_m.assign([[40.0], [-40.0]])
    np.testing.assert_allclose(layer(x), x[:, :1] / x[:, 1:], rtol=1e-5)


def test_clipping_caps_products():
    x = np.full((1, 3), 1e4, np.float32)
    results = []
    for clipping in (2.0, 20.0):
        layer = NALU(1, clipping=clipping)
        layer.build((None, 3))
        layer.w_m.assign(np.full((3, 1), 40.0))
        layer.m_m.assign(np.full((3, 1), 40.0))
        layer.g.assign([-40.0])
        results.append(float(layer(x)[0, 0]))
    np.testing.assert_allclose(results, np.exp([2.0, 20.0]), rtol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 5.0, 40.0])
def test_regulariser(scale):
    layer, v = build(7, 3, scale=scale)
    layer(np.zeros((2, 7), np.float32))
    (loss,) = layer.losses
    np.testing.assert_allclose(float(loss), regulariser(v), rtol=1e-5, atol=1e-7)


def test_regulariser_of_own_threshold_is_zero_beyond_it():
    layer = NALU(1, threshold=3.0)
    layer.build((None, 2))
    for name in WEIGHTS:
        getattr(layer, name).assign(np.full(getattr(layer, name).shape, -3.5))
    layer(np.zeros((1, 2), np.float32))
    assert float(layer.losses[0]) == 0.0
    layer.g.assign([0.5])
    layer(np.zeros((1, 2), np.float32))
    np.testing.assert_allclose(float(layer.losses[0]), 2.5 / 3, rtol=1e-6)


def test_regulariser_is_once_per_call_and_layer():
    model = keras.Sequential([keras.layers.InputLayer((7,)), NALU(3), NALU(2), NALU(1)])
    model(np.zeros((2, 7), np.float32))
    expected = [float(sparsity([getattr(layer, n) for n in WEIGHTS])) for layer in model.layers]
    assert [float(loss) for loss in model.losses] == pytest.approx(expected)


def gradients(layer, x):
    x = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = layer(x)
        total = tf.reduce_sum(tf.cast(y, layer.variable_dtype)) + tf.cast(
            layer.losses[0], layer.variable_dtype
        )
    return tape.gradient(total, [x, *layer.trainable_variables])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize("scale", [0.0, 0.1, 2.0, 40.0])
def test_gradients_are_finite(dtype, scale):
    layer, _ = build(2, 3, scale=scale, dtype=dtype)
    x = np.array(list(product(HAZARDS, repeat=2)), np.float32)
    for gradient in gradients(layer, x):
        assert np.isfinite(np.asarray(gradient, np.float64)).all()


def test_gradient_is_right_where_factors_of_the_sign_are_zero():
    """Zero factors must not hide the others: the product of the rest is the derivative.

    x = 0 with |W| = 1 and x < 0 with |W| = 1/2 both make a factor 0.
    """
    layer, _ = build(3, 2, dtype="float64")
    layer.w_m.assign([[40.0, 0.3], [40.0, 40.0], [1.0, -0.7]])
    layer.m_m.assign([[40.0, 0.2], [0.5, 40.0], [0.4, 0.1]])
    x = np.array([[0.0, -2.0, 3.0], [0.0, 0.0, -1.0], [1.5, -2.0, 0.0]])
    found = dict(zip(("x", *WEIGHTS), gradients(layer, x), strict=True))
    step = 1e-6
    for name in WEIGHTS:
        variable = getattr(layer, name)
        start = variable.numpy()
        for index in np.ndindex(start.shape):
            totals = []
            for sign in (1, -1):
                moved = start.copy()
                moved[index] += sign * step
                variable.assign(moved)
                v = values(layer)
                totals.append(forward(x, v)[0].sum() + regulariser(v))
            variable.assign(start)
            numeric = (totals[0] - totals[1]) / (2 * step)
            assert float(found[name][index]) == pytest.approx(numeric, rel=1e-5, abs=1e-7)


def test_compiled_by_xla():
    layer, v = build(7, 3)
    x = np.random.default_rng(3).uniform(-3, 3, (8, 7)).astype(np.float32)

    @tf.function(jit_compile=True)
    def step(x):
        with tf.GradientTape() as tape:
            y = layer(x)
        return y, tape.gradient(y, layer.trainable_variables)

    y, found = step(x)
    np.testing.assert_allclose(y, forward(x.astype(np.float64), v)[0], rtol=1e-3, atol=1e-4)
    assert all(np.isfinite(g).all() for g in found)
