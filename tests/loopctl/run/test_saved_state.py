"""A training that was interrupted goes on as if it had not been."""

from __future__ import annotations

import io
import json
import signal
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, when
from loopctl.run import saved_state
from tests import forked
from tests.loopctl import resumed

Data = tuple[Any, Any]
CONFIG: dict[str, Any] = {
    "gate": {"cond": when.batches % 5 < 3, True: {"clipping": (-0.1, 0.1)}, False: {}},
    "late": {
        "cond": when.loss.mean(6) < 100,
        True: {"optimizer": "adam", "regularize": True, "loss": None},
    },
}


def test_state_survives_as_bytes(model: keras.Model, data: Data) -> None:
    callback = LoopControllerCallback(CONFIG)
    model.fit(*data, batch_size=4, verbose=0, callbacks=[callback])
    state = callback.get_state()
    again = saved_state.from_bytes(saved_state.to_bytes(state))
    assert list(again["history"]) == list(state["history"])
    for name, column in state["history"].items():
        assert again["history"][name].dtype == column.dtype
        np.testing.assert_array_equal(again["history"][name], column)
    for (old,), (new,) in zip([state["optimizers"]], [again["optimizers"]], strict=True):
        for a, b in zip(old, new, strict=True):
            np.testing.assert_array_equal(a, b)
    plain = ("counters", "epoch", "reinit_start", "controls")
    assert {key: again[key] for key in plain} == {key: state[key] for key in plain}


def test_a_fit_goes_on_from_a_state(model: keras.Model, data: Data) -> None:
    arguments: dict[str, Any] = {"batch_size": 4, "shuffle": False, "verbose": 0}
    weights, whole = model.get_weights(), LoopControllerCallback(CONFIG)
    model.fit(*data, epochs=3, callbacks=[whole], **arguments)
    expected = model.get_weights()

    model.set_weights(weights)
    first, second = LoopControllerCallback(CONFIG), LoopControllerCallback(CONFIG)
    model.fit(*data, epochs=2, callbacks=[first], **arguments)
    second.set_state(first.get_state())
    model.fit(*data, epochs=3, initial_epoch=2, callbacks=[second], **arguments)
    for a, b in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    for name, column in whole.history.to_dict().items():
        np.testing.assert_allclose(second.history.column(name), column, rtol=1e-6)
    assert second.get_state()["counters"] == whole.get_state()["counters"]
    model.fit(*data, callbacks=[second], **arguments)
    assert second.epochs == 1, "a state is for one fit"


def test_a_state_that_version_0_1_has_saved(model: keras.Model, data: Data) -> None:
    """It had no validation's values, and nothing that branches remember."""
    since = {"validation", "branches", "random", "within"}
    callback = LoopControllerCallback(CONFIG)
    model.fit(*data, batch_size=4, verbose=0, callbacks=[callback])
    with np.load(io.BytesIO(saved_state.to_bytes(callback.get_state()))) as arrays:
        plain = json.loads(arrays["plain"].tobytes())
        kept = {name: value for name, value in plain.items() if name not in since}
        told = {"plain": np.frombuffer(json.dumps(kept).encode(), np.uint8)}
        told |= {n: arrays[n] for n in arrays.files if n.startswith(("history/", "optimizers/"))}
    buffer = io.BytesIO()
    np.savez(buffer, **told)
    second = LoopControllerCallback(CONFIG)
    second.set_state(saved_state.from_bytes(buffer.getvalue()))
    model.fit(*data, batch_size=4, epochs=2, initial_epoch=1, verbose=0, callbacks=[second])
    assert second.batches == 2 * callback.batches
    assert len(second.history) == second.batches


def test_weights_loaded_last_for_a_fit_without_epochs_bring_their_history(
    model: keras.Model, data: Data, tmp_path: Path
) -> None:
    """A run that was killed after its last epoch has nothing left to train, and all to read."""
    file = tmp_path / "last.weights.h5"
    save = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: model.save_weights(file))
    load = keras.callbacks.LambdaCallback(on_train_begin=lambda *_: model.load_weights(file))
    first, second = LoopControllerCallback(CONFIG), LoopControllerCallback(CONFIG)
    model.fit(*data, epochs=2, batch_size=4, verbose=0, callbacks=[first, save])
    model.fit(*data, epochs=2, initial_epoch=2, verbose=0, callbacks=[second, load])
    assert second.get_state()["counters"] == first.get_state()["counters"]
    np.testing.assert_array_equal(second.history.column("loss"), first.history.column("loss"))


def test_a_state_of_another_config_is_refused(model: keras.Model, data: Data) -> None:
    callback = LoopControllerCallback(CONFIG)
    model.fit(*data, verbose=0, callbacks=[callback])
    other = LoopControllerCallback({"gate": {"cond": when.always, True: {}}})
    other.set_state(callback.get_state())
    with pytest.raises(
        ConfigError, match="the state belongs to the actions gate, late with 1 optimizers"
    ):
        model.fit(*data, verbose=0, callbacks=[other])


def test_the_tracker_is_part_of_a_checkpoint(
    model: keras.Model, data: Data, tmp_path: Path
) -> None:
    callback = LoopControllerCallback(CONFIG)
    model.fit(*data, batch_size=4, verbose=0, callbacks=[callback])
    path = tf.train.Checkpoint(control=callback.tracker).save(tmp_path / "state")
    other = LoopControllerCallback(CONFIG)
    tf.train.Checkpoint(control=other.tracker).restore(path)
    model.fit(*data, batch_size=4, verbose=0, epochs=2, initial_epoch=1, callbacks=[other])
    assert other.batches == 16


def test_saving_is_keras_own_again_after_training(
    model: keras.Model, data: Data, tmp_path: Path
) -> None:
    callback = LoopControllerCallback(CONFIG)
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras")
    weights = keras.callbacks.ModelCheckpoint(tmp_path / "w.weights.h5", save_weights_only=True)
    model.fit(*data, verbose=0, callbacks=[callback, best, weights])
    model.save(tmp_path / "last.keras")
    plain = keras.models.clone_model(model)
    plain.load_weights(tmp_path / "w.weights.h5")
    for a, b in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("best", "last"):
        loaded = keras.models.load_model(tmp_path / f"{name}.keras")
        for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert not hasattr(loaded, "control_variables")
        loaded.fit(*data, verbose=0, callbacks=[LoopControllerCallback(CONFIG)])


@pytest.mark.parametrize("order", ["backup first", "control first"])
@pytest.mark.parametrize("freq", ["epoch", "3"])
def test_a_killed_process_is_resumed(order: str, freq: str, tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch; what follows equals a run that was never killed.

    Keras begins the interrupted epoch anew. With a backup at every epoch's end that is where the
    weights come from; with one in the middle of it, the steps until then are counted as well.
    """
    first = forked.start(resumed.main, tmp_path, order, freq, True)
    reached = tmp_path / "reached"
    deadline = time.monotonic() + 240
    while not reached.exists() and first.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    first.kill()
    first.join()
    assert first.exitcode == -signal.SIGKILL
    second = forked.start(resumed.main, tmp_path, order, freq, False)
    second.join()
    assert second.exitcode == 0
    result = json.loads((tmp_path / "result").read_text())

    expected = resumed.uninterrupted(freq)
    assert result["control"] == expected["control"]
    for a, b in zip(result["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
