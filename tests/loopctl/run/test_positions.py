"""A training that is killed at any step goes on from there, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import Backup, ConfigError, LoopControllerCallback, when
from tests.replicas import mirrored

X = np.random.default_rng(0).normal(size=(44, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
EPOCHS, STEPS = 3, 11
CONFIG: dict[str, Any] = {
    "gate": {
        "cond": when.batches_in_epochs % 5 < 3,
        True: {"clipping": (-0.1, 0.1)},
        False: {"loss": "mae", "optimizer": "adam", "accumulate": 2},
    },
    "late": {
        "cond": (when.loss.mean(8) < 2.0) | when.plateau(when.loss, 4, window=3),
        True: {"objective": lambda model, data: {"size": _size(model, data)}},
    },
}


def _size(model: keras.Model, data: Any) -> Any:
    return keras.ops.mean(keras.ops.square(model(data[0], training=True)))


def forget(callback: LoopControllerCallback) -> None:
    callback.history = []


ASYNC = {"again": {"cond": lambda self: self.batches == 15, "when": "batch_end"}}
ASYNC["again"]["callback"] = forget


def build(**settings: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    settings = {"jit_compile": False, **settings}
    model.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"], **settings)
    return model


def shuffled() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(44, seed=1).batch(4).prefetch(2)


def arrays() -> dict[str, Any]:
    return {"x": X, "y": Y, "batch_size": 4, "shuffle": False}


DATA: dict[str, Callable[[], dict[str, Any]]] = {
    "shuffled": lambda: {"x": shuffled()},
    "repeated": lambda: {"x": shuffled().repeat(), "steps_per_epoch": 7},
    "unknown length": lambda: {"x": shuffled().filter(lambda x, y: x[0, 0] > -9)},
    "arrays": arrays,
    "shuffled arrays": lambda: {**arrays(), "shuffle": True},
}


class Killed(keras.callbacks.Callback):
    """Ends a fit after so many batches of it."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


SIMPLE: dict[str, Any] = {"fast": {"cond": when.loss.mean(4) < 3.0, True: {}}}


def fit(
    folder: Path, kind: str, every: int, kill: int = 0, config: Any = SIMPLE, **settings: Any
) -> tuple[keras.Model, LoopControllerCallback, dict[str, Any]]:
    asynchronous = ASYNC if config is CONFIG else None
    model, control = build(**settings), LoopControllerCallback(config, asynchronous)
    backup = Backup(folder, every)
    callbacks = [control, backup, *([Killed(kill)] if kill else [])]
    arguments = {"epochs": EPOCHS, "initial_epoch": backup.epoch, "verbose": 0}
    logs = model.fit(**DATA[kind](), callbacks=callbacks, **arguments).history
    return model, control, logs


def assert_same(
    ours: tuple[keras.Model, LoopControllerCallback, Any],
    whole: tuple[keras.Model, LoopControllerCallback, Any],
) -> None:
    for a, b in zip(ours[0].get_weights(), whole[0].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    found, wanted = (run[1].history.to_dict() for run in (ours, whole))
    assert found.keys() == wanted.keys()
    for name, column in wanted.items():
        np.testing.assert_array_equal(found[name], column, err_msg=name)
    counters = [run[1].get_state()["counters"] for run in (ours, whole)]
    assert counters[0] == counters[1]
    for name, values in ours[2].items():  # of the epochs since it went on
        np.testing.assert_array_equal(values, whole[2][name][-len(values) :], err_msg=name)


@pytest.mark.parametrize("kind", DATA)
def test_what_is_killed_twice_ends_as_what_never_was(kind: str, tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", kind, 100)
    # Within an epoch, and at the end of one, when all its data have been drawn.
    for kill in (9, 14 if kind == "repeated" else 22):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "parts", kind, 2, kill)
    assert_same(fit(tmp_path / "parts", kind, 2), whole)


def test_of_branches_that_remember(tmp_path: Path) -> None:
    """Gradients that wait, plateaus, parts of objectives, a history that was forgotten."""
    whole = fit(tmp_path / "whole", "shuffled", 100, config=CONFIG)
    for kill in (9, 16):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "parts", "shuffled", 2, kill, config=CONFIG)
    assert_same(fit(tmp_path / "parts", "shuffled", 2, config=CONFIG), whole)


@pytest.mark.parametrize(
    "settings",
    [{"steps_per_execution": 4}, {"steps_per_execution": 3, "jit_compile": True}],
    ids=["loop", "program"],
)
def test_in_executions_of_many_steps(settings: dict[str, Any], tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", "shuffled", 100, **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", "shuffled", 1, 5, **settings)
    assert_same(fit(tmp_path / "parts", "shuffled", 1, **settings), whole)


def test_data_that_are_drawn_by_python_are_drawn_again(tmp_path: Path) -> None:
    """And a warning says what this rests on, once."""

    def data() -> dict[str, Any]:
        batches = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 44, 4)]
        spec = (tf.TensorSpec((None, 3)), tf.TensorSpec((None, 1)))
        return {"x": tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)}

    folder = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="PyFunc is") as seen:
        plain(folder, data(), 2, 8)
    assert sum("the position in the data can't be saved" in str(w.message) for w in seen) == 1
    ours, whole = plain(folder, data(), 100), plain(tmp_path / "whole", data(), 100)
    for a, b in zip(ours.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def plain(folder: Path, data: dict[str, Any], every: int, kill: int = 0) -> keras.Model:
    """A training of one plain branch."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=False)
    backup = Backup(folder, every)
    control = LoopControllerCallback({"all": {"cond": when.always, True: {}}})
    callbacks = [control, backup, *([Killed(kill)] if kill else [])]
    model.fit(**data, epochs=2, initial_epoch=backup.epoch, verbose=0, callbacks=callbacks)
    return model


def test_other_callbacks_hear_of_steps_that_are_passed_over(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        plain(tmp_path, arrays(), 3, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0-step-6.weights.h5"]
    backup = Backup(tmp_path, 3)
    assert (backup.epoch, backup.step, backup.stopped) == (0, 6, False)
    seen: list[int] = []
    asked: list[int] = []
    acted: list[int] = []
    control = LoopControllerCallback(
        {"all": {"cond": lambda self: asked.append(self.batches) or True, True: {}}},
        {
            "act": {
                "when": "batch_end",
                "cond": when.always,
                "callback": lambda self: acted.append(self.batches),
            }
        },
    )
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=False)
    hears = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    model.fit(**arrays(), epochs=1, verbose=0, callbacks=[hears, control, backup])
    assert seen == list(range(11))
    assert asked == list(range(6, 11))
    assert acted == list(range(7, 12))
    assert (control.batches, control.batches_in_epochs, len(control.history)) == (11, 11, 11)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-1-going.weights.h5"]
    assert (backup.epoch, backup.step) == (1, 0)


def test_a_training_that_stopped_itself(tmp_path: Path) -> None:
    stop = {"stop": {"step": when.batches == 14, "callback": _stop}}
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=False)
    control = LoopControllerCallback({"all": {"cond": when.always, True: {}}}, stop)
    model.fit(**arrays(), epochs=4, verbose=0, callbacks=[control, Backup(tmp_path, 4)])
    backup = Backup(tmp_path, 4)
    assert (backup.epoch, backup.step, backup.stopped) == (2, 0, True)


def _stop(callback: LoopControllerCallback) -> None:
    callback.model.stop_training = True


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, True, 1.5])
def test_other_numbers_of_steps(steps: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^Backup\(steps="):
        Backup(tmp_path, steps)


def test_another_first_epoch(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        plain(tmp_path, arrays(), 3, 15)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    control = LoopControllerCallback({"all": {"cond": when.always, True: {}}})
    with pytest.raises(ConfigError, match=r"begins with epoch 0, but .* continues with epoch 1"):
        model.fit(X, Y, verbose=0, callbacks=[control, Backup(tmp_path, 3)])


def test_without_control_or_before_it(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ConfigError, match="put a LoopControllerCallback before it"):
        model.fit(X, Y, verbose=0, callbacks=[Backup(tmp_path, 1)])
    with pytest.raises(KeyboardInterrupt):
        plain(tmp_path, arrays(), 3, 5)
    for _ in range(2):
        control = LoopControllerCallback({"all": {"cond": when.always, True: {}}})
        with pytest.raises(ConfigError, match="LoopControllerCallback before"):
            model.fit(**arrays(), verbose=0, callbacks=[Backup(tmp_path, 3), control])


def test_several_replicas(tmp_path: Path) -> None:
    with mirrored().scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
    control = LoopControllerCallback({"all": {"cond": when.always, True: {}}})
    with pytest.raises(ConfigError, match="is for one replica"):
        model.fit(X, Y, verbose=0, callbacks=[control, Backup(tmp_path, 3)])
