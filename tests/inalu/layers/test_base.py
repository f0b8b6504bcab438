"""Parts of the layers' base: strength and its schedules, ranges of weights, products."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from inalu.layers import NALU, NAU, NMU
from inalu.layers.base import Between, product
from inalu.schedules import Ramp

RAMP = Ramp(0.5, 4, 6)  # 0 up to step 4, 0.25 at step 5, 0.5 from step 6 on


def regularised(strength: Any, **kwargs: Any) -> tuple[Any, Any]:
    """A model, and its layer: one weight of 0.4, which moves by the regulariser alone.

    The input is 0, and the regulariser |w|: each step takes away what the strength is.
    """
    layer = NAU(1, strength=strength, initializer=keras.initializers.Constant(0.4), **kwargs)
    return keras.Sequential([keras.Input((1,)), layer]), layer


def train(model: Any, steps: int) -> None:
    nothing = np.zeros((steps, 1), "float32")
    model.fit(nothing, nothing, batch_size=1, verbose=0)


@pytest.mark.parametrize(("steps", "taken"), [(5, 0.0), (6, 0.25), (7, 0.75), (9, 1.75)])
def test_a_schedule_counts_train_steps(steps: int, taken: float) -> None:
    """Those within one execution of several, too."""
    model, layer = regularised(RAMP)
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=3, jit_compile=False)
    layer.follow(model.optimizer.iterations)
    train(model, steps)
    assert float(layer.w[0, 0]) == pytest.approx(0.4 - 0.1 * taken)


def test_a_schedule_goes_on_where_training_did(tmp_path: Any) -> None:
    """The steps are the optimizer's, not the layer's: they are saved with it."""
    model, layer = regularised(RAMP)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    layer.follow(model.optimizer.iterations)
    train(model, 5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    again.layers[0].follow(again.optimizer.iterations)
    train(again, 2)
    assert float(again.layers[0].w[0, 0]) == pytest.approx(0.4 - 0.1 * 0.75)


def test_a_schedule_under_mixed_precision() -> None:
    """The optimizer is wrapped then, losses are scaled, and Keras 3.8 counts no steps outside."""
    model, layer = regularised(RAMP, dtype="mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    model.compile(optimizer, "mse", jit_compile=False)
    layer.follow(optimizer.inner_optimizer.iterations)
    train(model, 7)
    assert float(layer.w[0, 0]) == pytest.approx(0.4 - 0.1 * 0.75)


def test_a_schedule_counts_updates_of_accumulated_gradients() -> None:
    """Then ``iterations`` is a new tensor each time: to follow one is to stand still."""
    model, layer = regularised(Ramp(0.5, 0, 1))
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model.compile(optimizer, "mse", jit_compile=False)
    with pytest.raises(TypeError, match="is to follow a tensor, which never changes"):
        layer.follow(optimizer.iterations)
    layer.follow(lambda: optimizer.iterations)
    train(model, 6)  # 3 updates, of strengths 0, 0.5 and 0.5
    assert float(layer.w[0, 0]) == pytest.approx(0.4 - 0.1 * 1.0)


def test_a_schedule_that_follows_nothing() -> None:
    model, layer = regularised(RAMP, name="sums")
    model.compile("sgd", "mse")
    x = np.zeros((1, 1), "float32")
    assert float(model(x)[0, 0]) == 0.0
    assert [float(loss) for loss in model.losses] == [0.0]
    with pytest.raises(ValueError, match=r"the strength of sums is a schedule.* call follow\("):
        train(model, 1)
    with pytest.raises(ValueError, match=r"call follow\("):
        layer(x, training=True)


@pytest.mark.parametrize("strength", [0, 0.25, np.float32(0.25), 1])
def test_a_constant_strength(strength: Any) -> None:
    model, layer = regularised(strength)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    train(model, 1)
    assert float(layer.w[0, 0]) == pytest.approx(0.4 - 0.1 * float(strength))
    assert layer.get_config()["strength"] == float(strength)


def test_a_schedule_in_float64() -> None:
    layer = NAU(1, strength=RAMP, dtype="float64")
    layer.build((None, 2))
    layer.follow(tf.Variable(6))
    layer(np.zeros((1, 2)), training=True)
    assert float(layer.losses[0]) == pytest.approx(0.5 * float(layer.regularization()))


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize(("kind", "lower"), [(NAU, -1.0), (NMU, 0.0)])
def test_weights_are_kept_in_range(kind: Any, lower: float, dtype: str) -> None:
    """After an update, whatever their dtype: far steps end at the bounds."""
    layer = kind(2, dtype=dtype, strength=0, initializer=keras.initializers.Constant(0.5))
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(100.0), "mse", run_eagerly=True)
    model.fit(np.full((1, 1), 2.0), np.array([[-50.0, 50.0]]), verbose=0)
    np.testing.assert_array_equal(np.asarray(layer.w, "float64"), [[lower, 1.0]])


def test_a_weight_comes_back_from_its_bound() -> None:
    """There it still has a gradient, which it has not beyond."""
    layer = NAU(3)
    layer.build((None, 1))
    layer.w.assign([[-1.0, 1.0, 1.25]])
    with tf.GradientTape() as tape:
        y = layer(np.full((1, 1), 2.0, "float32"))
    np.testing.assert_array_equal(tape.gradient(y, layer.w.value), [[2.0, 2.0, 0.0]])


def test_between() -> None:
    kept = Between(-1, 0.5)
    np.testing.assert_array_equal(kept(np.array([-3.0, -1.0, 0.25, 0.75])), [-1.0, -1.0, 0.25, 0.5])
    again = keras.constraints.deserialize(keras.constraints.serialize(kept))
    assert again.get_config() == {"lower": -1, "upper": 0.5}


@pytest.mark.parametrize("count", range(1, 9))
def test_product(count: int) -> None:
    """Of any number of factors, with the derivatives of any number of zeros among them."""
    factors = np.random.default_rng(0).normal(size=(4, count, 2))
    factors[1, 0] = 0.0
    factors[2, [0, -1], 0] = 0.0
    x = tf.constant(factors)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = product(x)
    np.testing.assert_allclose(y, factors.prod(axis=1))
    rest = [np.delete(factors, i, axis=1).prod(axis=1) for i in range(count)]
    np.testing.assert_allclose(tape.gradient(y, x), np.stack(rest, axis=1))


def test_reinitialize_is_for_weights_of_the_same_names() -> None:
    """What optimizers and traced graphs hold is given new values, not replaced."""
    layer = NALU(2)
    layer.build((None, 3))
    before = layer.trainable_weights
    layer.reinitialize()
    assert all(a is b for a, b in zip(layer.trainable_weights, before, strict=True))
