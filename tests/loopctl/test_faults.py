"""What comes from outside and goes wrong: numbers, data, conditions."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import LoopControllerCallback, when
from tests.grids import grid
from tests.oracle import eager

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
CLIPPED: dict[Any, Any] = {True: {"clipping": (-0.1, 0.1)}, False: {"loss": "mae"}}
PLAIN: dict[Any, Any] = {**CLIPPED, True: {}}


def build(**options: Any) -> keras.Model:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "tanh")])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse", **options)
    return model


MODES: dict[str, dict[str, Any]] = {
    "step by step": {"jit_compile": False},
    "several at once": {"jit_compile": False, "steps_per_execution": 3},
    "XLA": {"jit_compile": True, "steps_per_execution": 3},
}


@pytest.mark.parametrize(("bad", "mode"), grid([np.nan, np.inf, -np.inf], [*MODES]))
def test_data_that_are_no_numbers(bad: float, mode: str) -> None:
    """They do to weights what they do in a plain loop; a comparison with such a loss is False."""
    x = X.copy()
    x[9, 1] = bad
    batches = [(x[i : i + 4], Y[i : i + 4]) for i in range(0, len(x), 4)]
    conditions = (
        when.loss.last() < 100,
        lambda self: bool(self.history) and self.history[-1]["loss"] < 100,
    )
    # XLA of TensorFlow 2.19 makes NaN a bound where it clips by value (docs/faults.md).
    branches = PLAIN if mode == "XLA" else CLIPPED
    reference, model = build(), build(**MODES[mode])
    expected = eager.train(reference, {"a": {"cond": conditions[1], **branches}}, batches)
    callback = LoopControllerCallback({"a": {"cond": conditions[0], **branches}})
    model.fit(x, Y, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    assert [bool(step["a"]) for step in callback.history] == [row["a"] for row in expected]
    losses = [row["loss"] for row in expected]
    np.testing.assert_allclose(callback.history.column("loss"), losses, rtol=1e-5)
    for weight, wanted in zip(model.weights, reference.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), wanted.numpy(), rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_no_data_at_all(mode: str) -> None:
    """As in a plain `fit`: a warning, and nothing is trained or reported."""
    empty = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).take(0)
    plain, model = build(**MODES[mode]), build(**MODES[mode])
    before = model.get_weights()
    callback = LoopControllerCallback({"a": {"cond": when.always, **CLIPPED}})
    with pytest.warns(UserWarning, match="ran out of data"):
        expected = plain.fit(empty, verbose=0).history
    with pytest.warns(UserWarning, match="ran out of data"):
        assert model.fit(empty, verbose=0, callbacks=[callback]).history == expected
    assert callback.batches == len(callback.history) == 0
    for weight, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, wanted)


@pytest.mark.parametrize("mode", MODES)
def test_data_that_end_early(mode: str) -> None:
    """Keras warns, and what there was has been trained on."""
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    model, callback = (
        build(**MODES[mode]),
        LoopControllerCallback({"a": {"cond": when.always, **CLIPPED}}),
    )
    with pytest.warns(UserWarning, match="ran out of data"):
        model.fit(data, steps_per_epoch=9, verbose=0, callbacks=[callback])
    assert callback.batches == len(callback.history) == 6


def test_a_condition_that_raises() -> None:
    """The error is the user's own, steps before it stand, and the model trains on without us."""

    def cond(callback: LoopControllerCallback) -> bool:
        if callback.batches == 3:
            raise LookupError("no such schedule")
        return True

    model, callback = build(), LoopControllerCallback({"a": {"cond": cond, **CLIPPED}})
    with pytest.raises(LookupError, match="no such schedule"):
        model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    assert callback.batches == len(callback.history) == 3
    twin = build()
    twin.set_weights(model.get_weights())
    for one in (model, twin):
        one.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    for weight, wanted in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=1e-6)


def test_a_condition_that_is_slow() -> None:
    """Steps wait for it: every step has the outcome that was decided for it."""

    def cond(callback: LoopControllerCallback) -> bool:
        time.sleep(0.05)
        return bool(callback.batches % 2)

    callback = LoopControllerCallback({"a": {"cond": cond, **CLIPPED}})
    build().fit(X, Y, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    assert [bool(step["a"]) for step in callback.history] == [False, True] * 3


def test_an_async_action_that_raises() -> None:
    def broken(model: keras.Model) -> None:
        raise LookupError("no such weights")

    actions = {"redraw": {"cond": lambda self: self.epochs == 2, "model": broken}}
    callback = LoopControllerCallback({"a": {"cond": when.always, **CLIPPED}}, actions)
    model = build()
    with pytest.raises(LookupError, match="no such weights"):
        model.fit(X, Y, batch_size=4, epochs=3, verbose=0, callbacks=[callback])
    assert callback.epochs == 2
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0)
    assert callback.batches == 12
