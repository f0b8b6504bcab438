"""`assert_config`, of keys that say what enters an optimizer, at which rate, how often, when."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, when
from tests.verify.assertions.test_config_keys import OBJECTIVE, Pair

ROWS = np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32")
layers = keras.layers
Settings = dict[str, Any]
ExponentialDecay = keras.optimizers.schedules.ExponentialDecay


def regular() -> keras.Model:
    hidden = layers.Dense(3, "tanh", kernel_regularizer="l2", name="hid")
    return keras.Sequential([keras.Input((4,)), hidden, layers.Dense(1, name="head")], name="net")


def with_state() -> keras.Model:
    parts = [layers.Dense(3), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(1)]
    return keras.Sequential([keras.Input((4,)), *parts], name="net")


def two() -> keras.Model:
    x = keras.Input((4,))
    hidden = layers.Dense(3, "tanh")(x)
    outputs = {name: layers.Dense(1, name=name)(hidden) for name in ("a", "b")}
    return keras.Model(x, outputs, name="two")


def half(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [0.5 * gradient for gradient in gradients]


def third(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [gradient / 3.0 for gradient in gradients]


def noisy(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [g + 0.1 * tf.random.normal(tf.shape(g)) for g in gradients]


ONE, OTHER = (keras.Variable(1.0, trainable=False, name=name) for name in ("one", "other"))
BOTH: Settings = {"loss": {"a": "mse", "b": "mae"}}
GROUPS = {"*hid*": "adamw", "*head*": "sgd"}
ACCUMULATED: Settings = {"accumulate": 3, "clipping": {"global_norm": 1.0}, "regularize": True}
KEYS: dict[str, tuple[Callable[[], keras.Model], Settings, dict[str, Settings]]] = {
    "ascend": (regular, {"ascend": 0.05}, {"objective": {"ascend": 0.1}}),
    "ascend by a function": (regular, {"ascend": half}, {"objective": {"ascend": 0.05}}),
    "ascend with more": (
        with_state,
        {"ascend": 0.05, "gradients": half, "clipping": {"norm": 1.0}},
        {
            "objective": {"gradients": half, "clipping": {"norm": 1.0}},
            "clipping": {"ascend": 0.05, "gradients": half, "clipping": {"norm": 2.0}},
        },
    ),
    "computed radius": (
        regular,
        {"ascend": when.linear(0.01, 0.1, over=50)},
        {"objective": {"ascend": when.linear(0.01, 0.2, over=50)}},
    ),
    "regularised ascent": (
        regular,
        {"ascend": 0.05, "regularize": True},
        {"objective": {"ascend": 0.05}},
    ),
    "per_example": (
        regular,
        {"per_example": {"clip": 1.0}},
        {"objective": {"per_example": {"clip": 2.0}}},
    ),
    "noise": (
        regular,
        {"per_example": {"clip": 1.0, "noise": 0.5}},
        {
            "objective": {"per_example": {"clip": 2.0, "noise": 0.25}},
            "per_example": {"per_example": {"clip": 1.0, "noise": 0.2}},
        },
    ),
    "gradients": (regular, {"gradients": half}, {"objective": {"gradients": third}}),
    "noisy gradients": (
        regular,
        {"gradients": noisy, "regularize": True},
        {"objective": {"regularize": True}},
    ),
    "weights of zero": (
        two,
        {**BOTH, "loss_weights": {"a": 1.0, "b": 0.0}},
        {"objective": {**BOTH, "loss_weights": {"a": 0.5, "b": 0.0}}},
    ),
    "variable weights": (
        two,
        {**BOTH, "loss_weights": {"a": 1.0, "b": ONE}},
        {"objective": {**BOTH, "loss_weights": {"a": 1.0, "b": OTHER}}},
    ),
    "computed weights": (
        two,
        {**BOTH, "loss_weights": {"a": 1.0, "b": when.linear(0, 1, over=10)}},
        {"objective": {**BOTH, "loss_weights": {"a": 1.0, "b": when.linear(0, 1, over=20)}}},
    ),
    "weights of parts": (
        Pair,
        {**OBJECTIVE, "loss_weights": {"right": 0.5}},
        {"objective": {**OBJECTIVE, "loss_weights": {"right": 0.6}}},
    ),
    "ascent of an objective": (
        Pair,
        {**OBJECTIVE, "ascend": 0.05},
        {"objective": OBJECTIVE},
    ),
    "schedule": (
        regular,
        {"learning_rate": ExponentialDecay(0.1, 10, 0.9)},
        {"optimizer": {"learning_rate": ExponentialDecay(0.1, 10, 0.8)}},
    ),
    "computed rate": (
        regular,
        {"learning_rate": when.linear(0.1, 0.01, over=100)},
        {
            "optimizer": {"learning_rate": when.linear(0.1, 0.02, over=100)},
            "learning_rate": {"learning_rate": when.linear(0.1, 0.01, over=100, of=when.epochs)},
        },
    ),
    "factors": (
        regular,
        {"learning_rate": {"*hid*": 0.1}},
        {"optimizer": {"learning_rate": {"*head*": 0.1}}},
    ),
    "computed factors": (
        regular,
        {"optimizer": GROUPS, "learning_rate": {"*": when.cosine(0, 1, over=10)}},
        {"optimizer": {"optimizer": GROUPS, "learning_rate": {"*hid*": 0.1}}},
    ),
    "repeat": (regular, {"repeat": 3}, {"repeat": {"repeat": 2}}),
    "skip_nonfinite": (regular, {"skip_nonfinite": True}, {"skip_nonfinite": {}}),
    "no statistics": (
        with_state,
        {"update_statistics": False},
        {"update_statistics": {"update_statistics": True}},
    ),
    "statistics": (
        with_state,
        {"update_statistics": True},
        {"update_statistics": {"update_statistics": False}},
    ),
    "accumulate": (
        regular,
        ACCUMULATED,
        {
            "clipping": {**ACCUMULATED, "clipping": {"global_norm": 2.0}},
            "objective": {**ACCUMULATED, "loss": "mae"},
            "optimizer": {**ACCUMULATED, "optimizer": "sgd"},
        },
    ),
    "accumulated ascent": (
        regular,
        {"accumulate": 2, "ascend": 0.05},
        {"objective": {"accumulate": 2, "ascend": 0.1}},
    ),
}


@functools.cache
def controlled(name: str, fault: str = "") -> Any:
    """A model under what is intended, or under a fault of it, with its callback and a batch."""
    make, intended, faults = KEYS[name]
    model = make()
    model.compile("rmsprop", dict.fromkeys("ab", "mse") if make is two else "mse")
    if make is Pair:
        model(ROWS[0])
    settings = faults[fault] if fault else intended
    callback = LoopControllerCallback({"a": {"cond": when.always, True: settings}})
    x, y = ROWS
    return model, callback.attach(model), (x, dict.fromkeys("ab", y) if make is two else y)


@pytest.mark.parametrize("name", KEYS)
def test_what_is_as_the_config_says_is_no_fault(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", verify.UnheldWarning)
        verify.assert_config(*controlled(name))


@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for name, (_, _, faults) in KEYS.items() for fault in faults]
)
def test_another_value_behind_the_config_is_found(name: str, fault: str) -> None:
    model, callback, batch = controlled(name, fault)
    intended = SimpleNamespace(config={"a": {"cond": when.always, True: KEYS[name][1]}})
    if fault == "repeat":  # a substep by itself is not repeated
        intended.main_step, intended.model = callback.main_step, model
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_config(model, intended, batch)
    assert any(v.keyword.endswith(f") {fault}") for v in error.value.violations), error.value


@pytest.mark.parametrize(
    ("cond", "other"),
    [
        (when.batches % 10 < 8, when.batches % 10 < 7),
        (when.every(3), ~when.every(3)),
        ((when.epochs >= 2) & (when.batches > 20), (when.epochs >= 2) | (when.batches > 20)),
    ],
)
def test_another_condition_behind_the_config_is_found(cond: Any, other: Any) -> None:
    model = regular()
    model.compile("sgd", "mse")
    callback = LoopControllerCallback({"a": {"cond": cond, True: {}}}).attach(model)
    verify.assert_config(model, callback, ROWS)
    config = {"a": {"cond": other, True: {}}}
    intended = SimpleNamespace(config=config, main_step=callback.main_step, model=model)
    with pytest.raises(verify.GraphAssertionError, match=r"\['cond'\] conditions: expected a wh"):
        verify.assert_config(model, intended, ROWS)


@pytest.mark.parametrize(
    ("cond", "settings", "left"),
    [
        (when.loss.last() < 1.0, {}, r"\['cond'\]: it is computed from loss"),
        (when.always, {"learning_rate": 0.1 * when.loss.last()}, "learning_rate: it is computed"),
        (when.always, {"average": {"decay": 0.9, "start": when.batches > 3}}, "when it starts"),
    ],
)
def test_what_is_not_held_against_the_graphs_is_said(cond: Any, settings: Any, left: str) -> None:
    model = regular()
    model.compile("sgd", "mse")
    callback = LoopControllerCallback({"a": {"cond": cond, True: settings}}).attach(model)
    with pytest.warns(verify.UnheldWarning, match=left):
        verify.assert_config(model, callback, ROWS)


@pytest.mark.parametrize("units", [1, 2])
def test_gradients_that_are_summed_while_they_are_scaled(units: int) -> None:
    """A single number is as large as a flag that says whether the sum so far is finite."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05)), "mse")
    config = {"all": {"cond": when.always, True: {"accumulate": 2}}}
    control = LoopControllerCallback(config).attach(model)
    with pytest.warns(
        verify.UnheldWarning, match="loss: gradients are summed while they are scaled"
    ):
        verify.assert_config(model, control, (tf.TensorSpec((8, 3)), tf.TensorSpec((8, units))))
