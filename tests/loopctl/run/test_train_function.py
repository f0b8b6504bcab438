"""What a train step reports to `fit`, and so to callbacks that watch a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from loopctl import LoopControllerCallback, presets, when
from tests.oracle import eager

X = np.random.default_rng(5).normal(size=(16, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
BATCHES = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 16, 4)]
TURNS = presets.alternating({"d": {"variables": "*/head/*"}, "g": {"variables": "*/hidden/*"}})
# The first action has its turn in one epoch of three.
SELDOM = presets.alternating({"d": {"variables": "*/head/*"}, "g": {}}, steps=[1, 11])
STAGES = presets.gradual_unfreezing(["*/head/*", "*/hidden/*"])
LATE: Any = {"late": {"cond": when.epochs >= 1, True: {}}}


def build() -> keras.Model:
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dense(2, "tanh", name="hidden"), keras.layers.Dense(1, name="head")]
    model = keras.Sequential([keras.Input((3,)), *layers], name="net")
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=False)
    return model


def fit(config: Any, *callbacks: Any, **options: Any) -> tuple[LoopControllerCallback, Any]:
    model, control = build(), LoopControllerCallback(config)
    model.steps_per_execution = options.pop("steps_per_execution", 1)
    settings = {"batch_size": 4, "epochs": 3, "shuffle": False, "verbose": 0, **options}
    return control, model.fit(X, Y, callbacks=[control, *callbacks], **settings).history


@pytest.mark.parametrize("config", [TURNS, SELDOM, STAGES], ids=["turns", "seldom", "stages"])
@pytest.mark.parametrize("steps", [1, 3])
def test_loss_is_the_mean_over_what_ran(config: Any, steps: int) -> None:
    control, logs = fit(config, steps_per_execution=steps)
    told = np.reshape(control.history.column("loss"), (3, 4))
    assert np.isfinite(told).all()
    np.testing.assert_allclose(logs["loss"], told.mean(axis=1), rtol=1e-5)
    for name in config:
        ran = control.history.column(name)
        own = control.history.column(f"loss_{name}")
        assert (np.isnan(own) == ~ran).all()


def test_it_equals_an_eager_loop() -> None:
    control, _ = fit(TURNS)
    model = build()
    expected = eager.train(model, TURNS, BATCHES, epochs=3)
    np.testing.assert_allclose(
        control.history.column("loss"), [step["loss"] for step in expected], rtol=1e-4
    )


def test_the_first_of_several_that_run_gives_the_loss() -> None:
    both = {
        "a": {"cond": when.every(2), True: {}},
        "b": {"cond": when.always, True: {"loss": None}},
    }
    control, _ = fit(both)
    losses = control.history.column("loss")
    assert (losses[::2] > 0).all()
    assert (losses[1::2] == 0).all()


def test_an_epoch_in_which_nothing_ran_has_no_loss() -> None:
    control, logs = fit(LATE)
    assert len(logs["loss"]) == 2
    assert len(logs["late"]) == 3
    assert np.isnan(control.history[0]["loss"])
    model = build()
    idle = LoopControllerCallback(LATE).attach(model)
    assert "loss" not in idle.train_on_batch(X[:4], Y[:4])


@pytest.mark.parametrize("config", [TURNS, SELDOM, STAGES, LATE])
def test_nan_that_is_no_failure_ends_no_training(config: Any) -> None:
    control, _ = fit(config, keras.callbacks.TerminateOnNaN())
    assert control.batches == 12


def test_nan_that_is_a_failure_ends_it() -> None:
    wrong = {"a": {"cond": when.always, True: {"loss": lambda y, p: p * float("nan")}}}
    control, _ = fit(wrong, keras.callbacks.TerminateOnNaN())
    assert control.batches == 1


def test_callbacks_that_watch_the_loss(tmp_path: Path) -> None:
    best = tmp_path / "best.weights.h5"
    stop = keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True)
    slow = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.0)
    keep = keras.callbacks.ModelCheckpoint(
        best, monitor="loss", save_best_only=True, save_weights_only=True
    )
    control, logs = fit(STAGES, stop, slow, keep)
    assert len(logs["loss"]) == 3
    assert stop.best == pytest.approx(min(logs["loss"]))
    assert logs["learning_rate"] == pytest.approx([0.05] * 3)
    assert best.exists()
    assert control.epochs == 3
