"""How the compiled steps treat losses, outputs and Keras' own objects."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from loopctl import LoopControllerCallback, when
from loopctl.compile.compiled_steps import _takes_training


def always(callback: LoopControllerCallback) -> bool:
    return True


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        "mean_squared_error",
        keras.losses.MeanSquaredError(),
        keras.losses.mean_squared_error,
        squared,
    ],
)
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_a_loss_in_every_spelling(loss: Any, shape: tuple[int, ...], model: keras.Model) -> None:
    LoopControllerCallback({"gate": {"cond": always, True: {"loss": loss}}}).attach(model)
    x = np.ones((4, 3), "float32")
    expected = np.mean((np.arange(4) - model.predict(x, verbose=0)[:, 0]) ** 2)
    y = np.arange(4, dtype="float32").reshape(shape)
    np.testing.assert_allclose(float(model.gate_on((x, y))), expected, rtol=1e-5)


@pytest.mark.parametrize("named", [False, True])
def test_a_loss_for_each_output(named: bool) -> None:
    inputs = keras.Input((3,))
    a, b = (keras.layers.Dense(n, name=name)(inputs) for n, name in ((1, "a"), (2, "b")))
    model = keras.Model(inputs, {"a": a, "b": b} if named else [a, b])
    model.compile("sgd", {"a": "mse", "b": "mse"} if named else ["mse", "mse"])
    losses: Any = {"a": "mae", "b": None} if named else ["mae", None]
    callback = LoopControllerCallback({"gate": {"cond": always, True: {"loss": losses}}})
    x, first, second = np.ones((4, 3)), np.full((4, 1), 7.0), np.zeros((4, 2))
    y = {"a": first, "b": second} if named else [first, second]
    before = model.get_layer("b").kernel.numpy()
    model.fit(x, y, verbose=0, callbacks=[callback])
    np.testing.assert_array_equal(model.get_layer("b").kernel.numpy(), before)
    assert callback.history[0]["loss"] == pytest.approx(7, abs=4)


def test_a_substep_of_no_loss_at_all_changes_nothing(
    model: keras.Model, data: tuple[Any, Any]
) -> None:
    model.compile(keras.optimizers.Adam(), "mse")
    weights = model.get_weights()
    callback = LoopControllerCallback({"gate": {"cond": always, True: {"loss": None}}})
    model.fit(*data, verbose=0, callbacks=[callback])
    assert callback.history[-1]["loss"] == 0
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


class Positional(keras.Model):
    def call(self, x: Any, training: bool = False) -> Any:
        return x


class KeywordOnly(keras.Model):
    def call(self, x: Any, *, training: bool = False) -> Any:
        return x


class Collecting(keras.Model):
    def call(self, x: Any, **options: Any) -> Any:
        return x


class Without(keras.Model):
    def call(self, x: Any, *more: Any) -> Any:
        training = x  # a local of that name is no argument
        return training


@pytest.mark.parametrize(
    ("kind", "takes"),
    [
        (Positional, True),
        (KeywordOnly, True),
        (Collecting, False),
        (Without, False),
        (keras.Sequential, True),
    ],
)
def test_which_models_take_training(kind: type, takes: bool) -> None:
    """As in `fit`, by the name of a parameter: Keras' own attribute is private."""
    model = kind()
    assert _takes_training(model.call) is takes is model._call_has_training_arg


def test_a_repetition_moves_no_statistics_and_measures_nothing() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse", metrics=["mae"])
    config = {"gate": {"cond": when.always, True: {"repeat": 2}, False: {}}}
    sources = LoopControllerCallback(config).attach(model).steps.source
    assert "statistics.settle(" not in sources["gate_on"]
    assert "compute_metrics" in sources["gate_on"]
    assert "statistics.settle(scope)" in sources["gate_on_again"]
    assert "compute_metrics" not in sources["gate_on_again"]
    assert "gate_off_again" not in sources


@pytest.mark.parametrize(("repeat", "again"), [(1, False), (2, True), (3, True)])
def test_a_substep_that_is_repeated_has_a_twin(
    repeat: int, again: bool, model: keras.Model
) -> None:
    config = {"gate": {"cond": when.always, True: {"repeat": repeat}}}
    callback = LoopControllerCallback(config).attach(model)
    assert ("gate_on_again" in callback.steps.source) is again
