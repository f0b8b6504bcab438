"""Keras' callbacks and features do under control what they do in a plain fit, or are refused."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from loopctl import ConfigError, LoopControllerCallback, when
from tests.loopctl import features
from tests.loopctl.features import Feature

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
# Of two branches, each of which trains as the model was compiled.
CONFIG: dict[str, Any] = {"turn": {"cond": when.batches % 3 < 2, True: {}, False: {}}}
OWN = {"turn", "loss_turn"}


def build(feature: Feature) -> keras.Model:
    keras.utils.set_random_seed(1)
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(feature.dtype)
    try:
        layers = [keras.layers.Dense(4, "tanh", name="hidden"), keras.layers.Dense(1, name="head")]
        model = keras.Sequential([keras.Input((3,)), *layers])
        feature.prepare(model)
        model.compile(feature.optimizer(), "mse", **feature.compile)
    finally:
        keras.config.set_dtype_policy(usual)
    return model


def trained(feature: Feature, *control: LoopControllerCallback) -> tuple[keras.Model, Any]:
    with contextlib.nullcontext() if feature.scope is None else feature.scope():
        model, used = build(feature), feature.callbacks()
        arguments = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0, **feature.fit}
        logs = model.fit(X, Y, callbacks=[*control, *used], **arguments).history
        assert feature.acted is not None
        assert feature.acted(model, logs, used), "it did nothing"
    return model, logs


@pytest.mark.parametrize("feature", features.cases(), ids=lambda feature: feature.name)
def test_it_trains_as_in_a_plain_fit(feature: Feature) -> None:
    plain, expected = trained(feature)
    model, logs = trained(feature, LoopControllerCallback(CONFIG))
    assert logs.keys() - OWN == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-5, err_msg=name)
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_page_has_the_table_of_these_cases() -> None:
    text = features.PAGE.read_text("utf-8")
    assert features.page(text) == text, "run: python -m tests.loopctl.features"


@pytest.mark.parametrize("feature", features.FEATURES, ids=lambda feature: feature.name)
def test_what_holds_a_row_is_there(feature: Feature) -> None:
    assert features.tests(feature) or "Not tested" in feature.comes
    for test in features.tests(feature):
        path, _, function = test.partition("::")
        found = ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
        names = {node.name for node in found if isinstance(node, ast.FunctionDef)}
        assert function in names if function else names


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("clipping", (-0.1, 0.1)),
        ("gradients", lambda gradients, variables: gradients),
        ("ascend", 0.1),
        ("per_example", {"clip": 1.0}),
        ("accumulate", 2),
    ],
)
def test_values_in_the_place_of_gradients_are_not_changed(key: str, value: Any) -> None:
    model = build(Feature("", "", prepare=features.quantized("float8")))
    callback = LoopControllerCallback({"all": {"cond": when.always, True: {key: value}}})
    with pytest.raises(ConfigError) as error:
        callback.attach(model)
    assert str(error.value).startswith(f'config["all"][True]["{key}"] would change ')
    assert "overwrite_with_gradient" in str(error.value)
    without = {key: value, "variables": ["*/kernel", "*/bias"]}
    LoopControllerCallback({"all": {"cond": when.always, True: without}}).attach(model)
