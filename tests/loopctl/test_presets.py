"""Presets are plain configs; examples/ shows that they learn."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf

import loopctl
import verify
from inalu import recipe
from loopctl import (
    ConfigError,
    LoopControllerCallback,
    load_config,
    presets,
    save_config,
    when,
)


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


def test_one_branch_with_a_key() -> None:
    assert presets.sharpness_aware(0.1, clipping=(-1, 1))["sharp"][True] == {
        "clipping": (-1, 1),
        "ascend": 0.1,
    }
    assert presets.private(1.0, 0.5)["private"][True] == {
        "per_example": {"clip": 1.0, "noise": 0.5}
    }


def test_tuning_begins_with_the_head() -> None:
    factors = {"*/hidden/*": 0.1}
    plain = presets.discriminative_fine_tuning(factors)
    assert conditions(plain) == {"tune": "when.always"}
    assert plain["tune"][True] == {"inference": "*normalization*", "learning_rate": factors}
    config = presets.discriminative_fine_tuning(factors, head="*/head/*", head_epochs=3)
    assert conditions(config) == {"tune": "when.epochs >= 3"}
    assert config["tune"][False]["variables"] == "*/head/*"


def test_a_part_that_counts_for_more_and_more() -> None:
    config = presets.kl_annealing(lambda model, data: {"far": 0.0}, 50, part="far")
    weights = config["annealed"][True]["loss_weights"]
    assert repr(weights["far"]) == "when.linear(0, 1, over=50)"


class Networks(keras.Model):
    """What presets look for: linear networks, so that losses can be told by hand."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("online", "target", "student", "teacher", "critic", "generator"):
            units = 1 if name == "critic" else 3
            layers = [keras.Input((3,)), keras.layers.Dense(units)]
            setattr(self, name, keras.Sequential(layers, name=name))
        self.target.set_weights([w + 1 for w in self.online.get_weights()])
        self.predictor = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        self.seed = keras.random.SeedGenerator(1)


NAMES = ("online", "target", "student", "teacher", "critic", "generator", "predictor")


def fresh() -> Networks:
    """The same at every call."""
    keras.utils.set_random_seed(4)
    return Networks()


def fitted(config: dict[str, Any], data: Any) -> tuple[list[str], Any]:
    """The networks that two steps move, and the history of these."""
    model = fresh()
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    before = {name: getattr(model, name).get_weights() for name in NAMES}
    callback = LoopControllerCallback(config)
    model.fit(data.batch(4), verbose=0, callbacks=[callback])
    moved = [
        name
        for name, weights in before.items()
        if any(map(np.any, map(np.subtract, weights, getattr(model, name).get_weights())))
    ]
    return moved, callback.history


X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def softmax(z: Any) -> Any:
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def test_distillation_is_of_the_student_alone() -> None:
    data = tf.data.Dataset.from_tensor_slices((X, np.arange(8) % 3))
    moved, history = fitted(presets.distillation(temperature=3.0, soft=0.25), data)
    assert moved == ["student"]
    model = fresh()
    logits, told = np.asarray(model.student(X[:4])), np.asarray(model.teacher(X[:4]))
    wanted, found = softmax(told / 3), softmax(logits / 3)
    soft = 9 * np.mean(np.sum(wanted * np.log(wanted / found), axis=1))
    hard = -np.mean(np.log(softmax(logits)[np.arange(4), np.arange(4) % 3]))
    assert history[0]["learn_soft"] == pytest.approx(0.25 * soft, rel=1e-4)
    assert history[0]["learn_hard"] == pytest.approx(0.75 * hard, rel=1e-4)


def test_a_critic_and_its_generator() -> None:
    config = presets.adversarial_with_penalty(every=2, critic_optimizer="adam")
    moved, history = fitted(config, tf.data.Dataset.from_tensor_slices(X))
    assert moved == ["critic", "generator"]
    assert [bool(step["forge"]) for step in history] == [True, False]
    # Of a linear critic the slope is the same everywhere.
    penalty = 10 * (np.linalg.norm(fresh().critic.get_weights()[0]) - 1) ** 2
    assert history[0]["judge_penalty"] == pytest.approx(penalty, rel=1e-4)


def unit(z: Any) -> Any:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_views_are_predicted_and_the_target_follows() -> None:
    config = presets.bootstrapped_views(lambda x: (x, -x))
    moved, history = fitted(config, tf.data.Dataset.from_tensor_slices(X))
    assert moved == ["online", "target", "predictor"]
    model, apart = fresh(), []
    for one, other in ((X[:4], -X[:4]), (-X[:4], X[:4])):
        told = np.asarray(model.predictor(model.online(one)))
        meant = np.asarray(model.target(other))
        apart.append(np.sum((unit(told) - unit(meant)) ** 2, axis=1))
    assert history[0]["loss_learn"] == pytest.approx(np.mean(apart), rel=1e-4)


TRANSITIONS = {
    "state": X,
    "next_state": X[::-1].copy(),
    "action": np.arange(8) % 3,
    "reward": np.linspace(0, 1, 8).astype("float32"),
    "done": (np.arange(8) % 2).astype("float32"),
}


def test_q_values_and_the_target_that_follows() -> None:
    config = presets.deep_q(discount=0.5, decay=0.9)
    moved, history = fitted(config, tf.data.Dataset.from_tensor_slices(TRANSITIONS))
    assert moved == ["online", "target"]
    batch = {name: part[:4] for name, part in TRANSITIONS.items()}
    model, rows = fresh(), np.arange(4)
    chosen = np.asarray(model.online(batch["state"]))[rows, batch["action"]]
    best = np.argmax(model.online(batch["next_state"]), axis=1)
    later = np.asarray(model.target(batch["next_state"]))[rows, best]
    error = np.abs(batch["reward"] + 0.5 * (1 - batch["done"]) * later - chosen)
    huber = np.where(error < 1, error**2 / 2, error - 0.5)
    assert history[0]["loss_learn"] == pytest.approx(huber.mean(), rel=1e-4)


def reflected(x: Any) -> Any:
    """Two views of a batch."""
    return x, -x


def weighed(model: Any, data: Any) -> Any:
    """An objective with the part that `kl_annealing` asks for."""
    return {
        "fit": keras.ops.mean(model.online(data) ** 2),
        "kl": keras.ops.mean(model.online(-data)),
    }


def shown(value: Any) -> Any:
    """A config whose parts can be compared: predicates make predicates of that."""
    if isinstance(value, dict):
        return {key: shown(part) for key, part in value.items()}
    return repr(value) if type(value).__module__.startswith("loopctl.config") else value


X_ALONE = tf.data.Dataset.from_tensor_slices(X)


@pytest.mark.parametrize("suffix", [".toml", ".json", ".yaml"])
@pytest.mark.parametrize(
    "config",
    [
        presets.alternating({"a": {"variables": "d/*"}, "b": {"loss": "mae"}}),
        presets.gradual_unfreezing(["*/head/*", ["*/up/*", "*/down/*"]], 2),
        presets.delayed_regularization((when.epochs >= 2) & (when.loss.mean(5) < 1)),
        presets.inalu(),
        presets.sharpness_aware(when.linear(0, 0.1, over=9)),
        presets.private(1.0, 0.5),
        presets.discriminative_fine_tuning({"*": 0.1}, head="*/head/*"),
        presets.kl_annealing(weighed, 5),
        presets.distillation(temperature=3.0, soft=0.25, optimizer="adam"),
        presets.adversarial_with_penalty(critic_optimizer="adam", every=2),
        presets.bootstrapped_views(reflected, decay=0.5),
        presets.deep_q(discount=0.5),
    ],
    ids=lambda config: "-".join(config),
)
def test_every_preset_can_be_saved(config: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"control{suffix}"
    save_config(config, path)
    assert shown(load_config(path)) == shown(config)
    if suffix == ".json":
        text = importlib.resources.files(loopctl).joinpath("config.schema.json").read_text()
        jsonschema.validate(json.loads(path.read_text()), json.loads(text))


@pytest.mark.parametrize(
    ("config", "data"),
    [
        (presets.kl_annealing(weighed, 5), X_ALONE),
        (presets.bootstrapped_views(reflected), X_ALONE),
        (presets.adversarial_with_penalty(every=2), X_ALONE),
        (presets.deep_q(), tf.data.Dataset.from_tensor_slices(TRANSITIONS)),
    ],
    ids=["annealing", "views", "penalty", "deep q"],
)
def test_a_saved_preset_trains_the_same(config: Any, data: Any, tmp_path: Path) -> None:
    path = tmp_path / "control.toml"
    save_config(config, path)
    (moved, read), (wanted, history) = fitted(load_config(path), data), fitted(config, data)
    assert moved == wanted
    np.testing.assert_equal(read.to_dict(), history.to_dict())


def test_views_without_a_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r'\["learn"\]\[True\]\["objective"\]\.views is <function'
    ):
        save_config(presets.bootstrapped_views(lambda x: (x, -x)), tmp_path / "control.toml")


@pytest.mark.parametrize(
    ("config", "batch"),
    [
        (presets.distillation(), (X, np.arange(8) % 3)),
        (presets.adversarial_with_penalty(critic_optimizer="adam"), X),
        (presets.bootstrapped_views(lambda x: (x, -x)), X),
        (presets.deep_q(), TRANSITIONS),
    ],
    ids=["distillation", "penalty", "views", "deep q"],
)
def test_graphs_are_what_the_presets_say(config: dict[str, Any], batch: Any) -> None:
    model = fresh()
    model.compile(keras.optimizers.SGD(0.1))
    callback = LoopControllerCallback(config).attach(model)
    verify.assert_config(model, callback, batch)
