"""NALU as a Keras layer: shapes, dtypes, initial values, saving, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from inalu import NALU

WEIGHTS = ("w_a", "m_a", "w_m", "m_m", "g")


def built(*args, features=7, **kwargs):
    layer = NALU(*args, **kwargs)
    layer.build((None, features))
    return layer


def snapshot(layer):
    return {name: getattr(layer, name).numpy() for name in WEIGHTS}


def stack(**kwargs):
    return keras.Sequential(
        [keras.layers.InputLayer((7,)), *(NALU(n, **kwargs) for n in (3, 2, 1))]
    )


def test_weights():
    layer = built(3)
    assert [(v.name, tuple(v.shape)) for v in layer.trainable_weights] == [
        ("w_a", (7, 3)),
        ("m_a", (7, 3)),
        ("w_m", (7, 3)),
        ("m_m", (7, 3)),
        ("g", (3,)),
    ]
    assert layer.non_trainable_weights == []


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (2, 1, 3)])
def test_any_batch_shape(leading):
    layer = built(3)
    x = np.random.default_rng(0).normal(size=(*leading, 7)).astype(np.float32)
    y = layer(x)
    assert y.shape == (*leading, 3)
    flat = layer(x.reshape(-1, 7))
    np.testing.assert_allclose(np.reshape(y, (-1, 3)), flat, rtol=1e-5)
    assert layer.compute_output_shape((None, *leading, 7)) == (None, *leading, 3)


def test_unknown_batch_and_empty_batch():
    layer = built(3)
    step = tf.function(layer, input_signature=[tf.TensorSpec((None, 7), tf.float32)])
    assert step(np.zeros((0, 7), np.float32)).shape == (0, 3)
    assert step(np.zeros((4, 7), np.float32)).shape == (4, 3)


def test_integer_inputs():
    layer = built(2)
    x = np.arange(14).reshape(2, 7)
    np.testing.assert_array_equal(layer(x), layer(x.astype(np.float32)))


@pytest.mark.parametrize(
    ("policy", "weights", "output", "tolerance"),
    [
        ("float16", "float16", "float16", 2e-3),
        ("bfloat16", "bfloat16", "bfloat16", 1e-2),
        ("float32", "float32", "float32", 1e-5),
        ("float64", "float64", "float64", 1e-5),
        ("mixed_float16", "float32", "float16", 2e-3),
        ("mixed_bfloat16", "float32", "bfloat16", 1e-2),
    ],
)
def test_dtypes(policy, weights, output, tolerance):
    layer = built(3, dtype=policy)
    assert {v.dtype for v in layer.weights} == {weights}
    x = np.random.default_rng(0).uniform(-3, 3, (16, 7)).astype(np.float32)
    y = layer(x)
    assert y.dtype == output
    # The same weights in float32: only the last rounding may differ.
    same = built(3)
    for name, value in snapshot(layer).items():
        getattr(same, name).assign(value.astype(np.float32))
    np.testing.assert_allclose(np.asarray(y, np.float32), same(x), rtol=tolerance, atol=tolerance)
    for x in (0.0, 1e30, -1e30, 1e-30, -1e-30):
        y = layer(np.full((1, 7), x, np.float32))
        assert np.isfinite(np.asarray(y, np.float64)).all()


def test_mixed_precision_rounds_no_weight():
    layer = built(1, dtype="mixed_float16", features=2)
    layer.w_m.assign(np.full((2, 1), 40.0))
    layer.m_m.assign(np.full((2, 1), 40.0))
    layer.g.assign([-40.0])
    # In half precision exp(ln 40 + ln 50) would be off by several units.
    assert float(layer(np.array([[40.0, 50.0]], np.float32))[0, 0]) == 2000.0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_trains_under_other_policies(policy):
    model = stack(dtype=policy)
    model.compile("rmsprop", "mse")
    x = np.random.default_rng(0).uniform(-3, 3, (64, 7)).astype(np.float32)
    before = [v.numpy() for v in model.trainable_variables]
    model.fit(x, x[:, :1], verbose=0, epochs=2)
    assert any(
        (v.numpy() != b).any() for v, b in zip(model.trainable_variables, before, strict=True)
    )
    assert all(np.isfinite(v.numpy()).all() for v in model.trainable_variables)


def test_initial_values_are_those_of_the_authors():
    values = snapshot(built(200, features=200))
    for name, mean in [("w_a", 1), ("w_m", 1), ("m_a", -1), ("m_m", -1), ("g", 0)]:
        assert values[name].mean() == pytest.approx(mean, abs=0.03)
        assert values[name].std() == pytest.approx(0.1, abs=0.02)
    assert not np.allclose(values["w_a"], values["w_m"])
    assert not np.allclose(values["m_a"], values["m_m"])


def test_one_initializer_for_all_gives_different_values():
    shared = keras.initializers.RandomUniform(-1, 1, seed=3)
    layers = [
        built(4, features=4, w_initializer=shared, m_initializer=shared, g_initializer=shared)
        for _ in range(2)
    ]
    drawn = [values for layer in layers for values in snapshot(layer).values()]
    firsts = {float(values.ravel()[0]) for values in drawn}
    assert len(firsts) == len(drawn)


def test_one_seed_for_all_layers_gives_different_values():
    model = stack(seed=5)
    firsts = {float(np.ravel(v)[0]) for v in model.trainable_variables}
    assert len(firsts) == len(model.trainable_variables)


def test_seed_repeats():
    first, second = (snapshot(built(3, seed=5, name="a")) for _ in range(2))
    other = snapshot(built(3, seed=6, name="a"))
    for name in WEIGHTS:
        np.testing.assert_array_equal(first[name], second[name])
        assert (first[name] != other[name]).all()


def test_global_seed_repeats():
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        layer = built(3)
        layer.reinitialize()
        runs.append(snapshot(layer))
    for name in WEIGHTS:
        np.testing.assert_array_equal(runs[0][name], runs[1][name])


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_reinitialize_draws_new_values_each_time(dtype):
    layer = built(3, seed=1, dtype=dtype)
    seen = [snapshot(layer)]
    for _ in range(3):
        layer.reinitialize()
        seen.append(snapshot(layer))
    for name in WEIGHTS:
        for i, values in enumerate(seen):
            assert values[name].dtype == dtype
            assert all((values[name] != other[name]).mean() > 0.5 for other in seen[:i])


def test_reinitialize_with_constants_and_plain_functions():
    layer = built(
        2,
        w_initializer="ones",
        m_initializer=keras.initializers.Constant(-2.0),
        g_initializer=lambda shape, dtype=None: keras.ops.full(shape, 0.5, dtype=dtype),
    )
    expected = snapshot(layer)
    assert set(np.unique(expected["g"])) == {0.5}
    for name in WEIGHTS:
        getattr(layer, name).assign(getattr(layer, name) + 1.0)
    layer.reinitialize()
    for name, values in snapshot(layer).items():
        np.testing.assert_array_equal(values, expected[name])


def test_reinitialize_reaches_a_traced_graph():
    layer = built(3)
    step = tf.function(layer)
    x = np.ones((1, 7), np.float32)
    before = step(x).numpy()
    layer.reinitialize()
    np.testing.assert_allclose(step(x), layer(x), rtol=1e-6)
    assert (step(x).numpy() != before).all()


def test_config_round_trip():
    layer = NALU(
        3,
        clipping=10,
        w_initializer="glorot_uniform",
        m_initializer=keras.initializers.RandomUniform(-1, 0),
        threshold=5.0,
        seed=4,
        name="arithmetic",
        dtype="mixed_bfloat16",
    )
    config = layer.get_config()
    again = NALU.from_config(config)
    assert again.get_config() == config
    assert (again.units, again.clipping, again.threshold, again.seed) == (3, 10.0, 5.0, 4)
    for each in (layer, again):
        each.build((None, 7))
    for name, values in snapshot(layer).items():
        np.testing.assert_array_equal(values, snapshot(again)[name])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_save_and_load(tmp_path, suffix):
    model = stack(seed=1)
    path = tmp_path / f"model{suffix}"
    model.save(path)
    again = keras.models.load_model(path)
    x = np.random.default_rng(0).uniform(-3, 3, (8, 7)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))
    assert [layer.get_config() for layer in again.layers] == [
        layer.get_config() for layer in model.layers
    ]


def test_loaded_weights_go_on_drawing_where_the_saved_ones_stopped(tmp_path):
    model = stack(seed=1)
    model.layers[0].reinitialize()
    model.save_weights(tmp_path / "model.weights.h5")
    again = stack(seed=2)
    again.load_weights(tmp_path / "model.weights.h5")
    for _ in range(2):
        for name, values in snapshot(model.layers[0]).items():
            np.testing.assert_array_equal(values, snapshot(again.layers[0])[name])
        for each in (model, again):
            each.layers[0].reinitialize()


def test_load_weights_without_the_stream(tmp_path):
    """Files of the legacy format hold the weights alone."""
    model, again = stack(seed=1), stack(seed=1)
    for layer, other in zip(model.layers, again.layers, strict=True):
        layer.reinitialize()
        other.load_own_variables({str(i): v.numpy() for i, v in enumerate(layer.weights)})
        for name, values in snapshot(layer).items():
            np.testing.assert_array_equal(values, snapshot(other)[name])


def test_saved_model_export(tmp_path):
    model = stack()
    model.export(tmp_path / "saved", verbose=False)
    x = np.ones((2, 7), np.float32)
    loaded = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.serve(x), model(x), rtol=1e-5)


def test_in_a_subclassed_model_and_with_masks():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.mask, self.sums = keras.layers.Masking(), NALU(2)

        def call(self, x):
            return self.sums(self.mask(x))

    model = Model()
    y = model(np.ones((2, 4, 7), np.float32))
    assert y.shape == (2, 4, 2)
    assert len(model.losses) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "units is 0"),
        ({"units": 2.0}, "units is 2.0"),
        ({"units": True}, "units is True"),
        ({"units": 1, "clipping": 0}, "clipping is 0"),
        ({"units": 1, "clipping": 100}, "overflows float32"),
        ({"units": 1, "clipping": float("nan")}, "clipping is nan"),
        ({"units": 1, "threshold": -1.0}, "threshold is -1.0"),
        ({"units": 1, "threshold": float("inf")}, "threshold is inf"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        NALU(**arguments)


def test_clipping_may_be_larger_in_float64():
    assert NALU(1, clipping=100, dtype="float64").clipping == 100.0


def test_unknown_features():
    with pytest.raises(ValueError, match="last axis"):
        NALU(1).build((None, None))


def test_reinitialize_before_build():
    with pytest.raises(ValueError, match="nothing is not built"):
        NALU(1, name="nothing").reinitialize()


def test_wrong_number_of_features():
    with pytest.raises(ValueError, match="incompatible"):
        built(1)(np.zeros((2, 6), np.float32))
