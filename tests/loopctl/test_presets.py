"""Presets are plain configs; examples/ shows that they learn."""

from __future__ import annotations

from typing import Any

import keras
import pytest

import verify
from inalu import recipe
from loopctl import ConfigError, LoopControllerCallback, presets, when


def conditions(config: dict[str, Any]) -> dict[str, str]:
    return {name: repr(action["cond"]) for name, action in config.items()}


def test_taking_turns() -> None:
    config = presets.alternating({"a": {"loss": "mae"}, "b": {}, "c": {}}, steps=(2, 1, 3))
    assert conditions(config) == {
        "a": "when.batches % 6 < 2",
        "b": "(when.batches % 6 >= 2) & (when.batches % 6 < 3)",
        "c": "when.batches % 6 >= 3",
    }
    assert config["a"][True] == {"loss": "mae"}
    with pytest.raises(ConfigError, match="1 numbers of steps for 2 branches"):
        presets.alternating({"a": {}, "b": {}}, steps=[1])


def test_unfreezing_adds_groups() -> None:
    config = presets.gradual_unfreezing(["head/*", ["up/*", "down/*"], "*"], 2, loss="mae")
    assert conditions(config) == {
        "stage_1": "when.epochs < 2",
        "stage_2": "(when.epochs >= 2) & (when.epochs < 4)",
        "stage_3": "when.epochs >= 4",
    }
    assert config["stage_2"][True] == {"loss": "mae", "variables": ["head/*", "up/*", "down/*"]}


def test_delayed_regularisation_shares_its_forward_pass(model: keras.Model) -> None:
    config = presets.delayed_regularization(when.epochs >= 3, clipping=(-1, 1))
    callback = LoopControllerCallback(config).attach(model)
    assert "regularized_shared" in callback.source()
    assert "clip_by_value" in callback.source("regularized")


def test_the_recipe_of_chapter_6_in_the_graph() -> None:
    """The same substeps as those of the config that the thesis prints."""
    model = recipe.build_model()
    recipe.compile_model(model)
    callback = LoopControllerCallback(presets.inalu()).attach(model)
    batch = (keras.ops.zeros((4, 7)), keras.ops.zeros((4, 1)))
    verify.assert_config(model, callback, batch)
    texts = {name: callback.source(*name) for name in (("gate", True), ("delay", True))}
    chosen = dict(callback.steps.selections)
    callback = LoopControllerCallback(recipe.config).attach(model)
    assert {name: callback.source(*name) for name in texts} == texts
    for name, variables in callback.steps.selections.items():
        assert [v.path for v in chosen[name]] == [v.path for v in variables]
