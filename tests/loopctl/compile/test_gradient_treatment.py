"""Treatment of gradients: transforms, clips, loss scales, optimizers, repetition."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, when
from loopctl.compile.gradient_treatment import clip_as, keep_overflow
from tests.grids import grid

Data = tuple[Any, Any]


def controlled(**branch: Any) -> LoopControllerCallback:
    return LoopControllerCallback({"gate": {"cond": when.always, True: branch}})


def step(model: keras.Model, data: Data, **branch: Any) -> list[Any]:
    """What one train step of plain SGD at rate 1 subtracts: the treated gradients."""
    before = model.get_weights()
    model.fit(*data, batch_size=32, shuffle=False, verbose=0, callbacks=[controlled(**branch)])
    return [old - new for old, new in zip(before, model.get_weights(), strict=True)]


@pytest.fixture
def model() -> keras.Model:
    built = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
    built.compile(keras.optimizers.SGD(1.0), "mse")
    return built


def test_clips(model: keras.Model, data: Data) -> None:
    weights = model.get_weights()

    def treated(**branch: Any) -> list[Any]:
        model.set_weights(weights)
        return step(model, data, **branch)

    raw = treated()
    for got, gradient in zip(treated(clipping=(-0.1, 0.2)), raw, strict=True):
        np.testing.assert_allclose(got, np.clip(gradient, -0.1, 0.2), atol=1e-6)
    for got, gradient in zip(treated(clipping={"norm": 0.5}), raw, strict=True):
        factor = min(1, 0.5 / np.linalg.norm(gradient))
        np.testing.assert_allclose(got, gradient * factor, atol=1e-6)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in raw))
    for got, gradient in zip(treated(clipping={"global_norm": 0.5}), raw, strict=True):
        np.testing.assert_allclose(got, gradient * min(1, 0.5 / norm), atol=1e-6)


def test_a_transform_comes_before_the_clip(model: keras.Model, data: Data) -> None:
    seen: list[Any] = []

    def tenfold(gradients: list[Any], variables: list[Any]) -> list[Any]:
        seen.extend(variables)
        return [10 * gradient for gradient in gradients]

    changes = step(model, data, gradients=tenfold, clipping=(-0.1, 0.1), variables="*/bias")
    assert [variable.path for variable in seen] == [
        v.path for v in model.trainable_variables if v.name == "bias"
    ]
    assert max(np.abs(change).max() for change in changes) <= 0.1 + 1e-6
    source = controlled(gradients=tenfold, clipping=(-0.1, 0.1)).attach(model).source("gate")
    assert source.index("transform(gradients, trained)") < source.index("tf.clip_by_value")


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda g, v: g[:-1], "returned 3 gradients for 4 variables"),
        (lambda g, v: None, "returned None gradients for 4 variables"),
        (lambda g, v: [None, *g[1:]], "returned None for sequential/dense/kernel"),
        (lambda g, v: [g[1], *g[1:]], r"float32\(4,\) for sequential/dense/kernel, whose gradient"),
        (lambda g, v: [tf.cast(g[0], "float64"), *g[1:]], r"returned float64\(3, 4\)"),
    ],
)
def test_a_transform_must_return_gradients(
    transform: Any, message: str, model: keras.Model, data: Data
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        step(model, data, gradients=transform)
    assert str(error.value).startswith('config["gate"][True]["gradients"] returned')
    assert not hasattr(model, "control_variables")


def test_sparse_gradients_are_clipped_whole() -> None:
    """An embedding's gradient comes in slices; clipping each would miss their sum."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Embedding(3, 2)])
    model.compile(keras.optimizers.SGD(1.0), lambda y, p: keras.ops.sum(p))
    before = model.get_weights()[0]
    x, y = np.zeros((1, 4)), np.zeros((1, 1))
    model.fit(x, y, verbose=0, callbacks=[controlled(clipping=(-1.5, 1.5))])
    np.testing.assert_allclose(before[0] - model.get_weights()[0][0], [1.5, 1.5], rtol=1e-6)


# -- loss scales ----------------------------------------------------------------------------------


def test_clips_act_on_unscaled_gradients(model: keras.Model, data: Data) -> None:
    weights, (x, y) = model.get_weights(), data
    expected = step(model, (x, y), clipping=(-0.1, 0.2))
    for optimizer in (
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0)),
        keras.optimizers.SGD(1.0, loss_scale_factor=128.0),
    ):
        model.set_weights(weights)
        model.compile(optimizer, "mse")
        for got, wanted in zip(step(model, data, clipping=(-0.1, 0.2)), expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-6)


TREATED: dict[str, dict[str, Any]] = {
    "clip by value": {"clipping": (-0.1, 0.1)},
    "clip by norm": {"clipping": {"norm": 0.2}},
    "clip by global norm": {"clipping": {"global_norm": 0.3}},
    "transform": {"gradients": lambda gradients, variables: [0.5 * g for g in gradients]},
    "accumulated": {"accumulate": 2, "clipping": (-0.1, 0.1)},
    "uphill": {"ascend": 0.1},
    "finite": {"skip_nonfinite": True, "clipping": (-0.1, 0.1)},
}


@pytest.mark.parametrize(("branch", "dtype"), grid([*TREATED], ["bfloat16", "float16"]))
def test_weights_in_half_precision_under_a_loss_scale(branch: str, dtype: str, data: Data) -> None:
    """They train as without the scale, which is in full precision."""
    layers = [keras.layers.Dense(n, dtype=dtype) for n in (4, 1)]
    model = keras.Sequential([keras.Input((3,), dtype=dtype), *layers])
    weights, trained = model.get_weights(), list[Any]()
    for optimizer in (
        keras.optimizers.SGD(0.5),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), initial_scale=16.0),
        keras.optimizers.SGD(0.5, loss_scale_factor=16.0),
    ):
        model.set_weights(weights)
        model.compile(optimizer, "mse")
        control = controlled(**TREATED[branch])
        model.fit(*data, batch_size=16, shuffle=False, verbose=0, callbacks=[control])
        trained.append([w.astype("float32") for w in model.get_weights()])
    plain, *scaled = trained
    assert all(np.any(a != b.astype("float32")) for a, b in zip(plain, weights, strict=True))
    for one in scaled:
        for got, wanted in zip(one, plain, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0.02, atol=2e-3)


def test_an_overflow_is_skipped_though_it_is_clipped(model: keras.Model, data: Data) -> None:
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0))
    model.compile(optimizer, lambda y, p: keras.ops.mean(p * 1e38, axis=-1))
    assert not any(change.any() for change in step(model, data, clipping=(-0.1, 0.1)))
    assert float(optimizer.dynamic_scale) < optimizer.initial_scale


def test_overflow_survives_any_treatment() -> None:
    fine, broken = tf.constant([1.0, 2.0]), tf.constant([1.0, float("inf")])
    np.testing.assert_array_equal(keep_overflow(fine, fine), [1, 2])
    assert np.isnan(keep_overflow(fine, broken)).all()


def test_mixed_precision_trains_and_scales(data: Data) -> None:
    policy = keras.DTypePolicy("mixed_float16")
    layers = [keras.layers.Dense(n, dtype=policy, kernel_regularizer="l2") for n in (8, 1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.05))
    model.compile(scaling, "mse")
    callback = LoopControllerCallback(
        {
            "all": {
                "cond": when.every(2),
                True: {"regularize": True},
                False: {"clipping": (-1, 1)},
            },
            "own": {"cond": when.every(3), True: {"optimizer": "sgd", "clipping": {"norm": 1}}},
        }
    )
    model.fit(*data, batch_size=4, epochs=20, verbose=0, callbacks=[callback])
    losses = callback.history.column("loss_all")
    assert losses[-8:].mean() < 0.2 * losses[:8].mean()
    (own,) = callback.steps.optimizers.own
    assert isinstance(own, keras.optimizers.LossScaleOptimizer)


@pytest.mark.parametrize(
    ("constructed", "expected"),
    [
        ({}, [[3.0, 4.0], [0.0, -12.0]]),
        ({"clipvalue": 3.5}, [[3.0, 3.5], [0.0, -3.5]]),
        ({"clipnorm": 6.0}, [[3.0, 4.0], [0.0, -6.0]]),
        ({"global_clipnorm": 6.5}, [[1.5, 2.0], [0.0, -6.0]]),
        ({"global_clipnorm": 13.5}, [[3.0, 4.0], [0.0, -12.0]]),
    ],
)
def test_the_clips_an_optimizer_was_made_with(constructed: Any, expected: Any) -> None:
    """Done by us where several replicas share a gradient; the norm of all is 13."""
    clip = clip_as([keras.optimizers.SGD(0.1, **constructed)])
    clipped = clip([tf.constant([3.0, 4.0]), tf.constant([0.0, -12.0])], [])
    np.testing.assert_allclose(clipped, expected, rtol=1e-6)


# -- optimizers and repetition --------------------------------------------------------------------


def test_each_branch_may_have_its_own_optimizer(model: keras.Model, data: Data) -> None:
    slow, weights = keras.optimizers.SGD(0.25), model.get_weights()
    whole = step(model, data)
    model.set_weights(weights)
    for got, wanted in zip(step(model, data, optimizer=slow), whole, strict=True):
        np.testing.assert_allclose(got, wanted / 4, atol=1e-6)
    assert int(slow.iterations) == 1


def test_an_optimizer_of_two_branches_knows_the_variables_of_both(model: keras.Model) -> None:
    shared = keras.optimizers.Adam()
    LoopControllerCallback(
        {
            "gate": {
                "cond": when.always,
                True: {"optimizer": shared, "variables": "*/bias"},
                False: {"optimizer": shared, "variables": "*dense_1/*"},
            }
        }
    ).attach(model)
    slots = {v.path.split("sequential_")[-1] for v in shared.variables if "momentum" in v.path}
    assert slots == {"dense_bias_momentum", "dense_1_kernel_momentum", "dense_1_bias_momentum"}


def test_an_optimizer_of_another_model_is_refused(model: keras.Model) -> None:
    used = keras.optimizers.Adam()
    used.build([keras.Variable(1.0, name="stranger")])
    with pytest.raises(
        ConfigError, match=r'config\["gate"\]\[True\]\["optimizer"\] has been built'
    ):
        controlled(optimizer=used).attach(model)
    assert not hasattr(model, "control_variables")
    assert not model.optimizer.built


@pytest.mark.parametrize("repeat", [1, 2, 3])
def test_repetition(repeat: int, model: keras.Model, data: Data) -> None:
    weights = model.get_weights()
    model.optimizer.learning_rate = 0.01
    callback = controlled(repeat=repeat)
    model.fit(*data, batch_size=32, shuffle=False, verbose=0, callbacks=[callback])
    repeated = model.get_weights()
    model.set_weights(weights)
    plain = controlled()
    model.fit(*data, batch_size=32, epochs=repeat, shuffle=False, verbose=0, callbacks=[plain])
    for a, b in zip(repeated, model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert callback.batches == 1
    assert callback.history[0]["loss"] == pytest.approx(plain.history[-1]["loss"], rel=1e-4)
