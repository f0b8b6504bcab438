"""A training goes on from its backup as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from loopctl import Backup, LoopControllerCallback
from tests.loopctl import resumed


def fit(directory: Path, epochs: int, *more: Any) -> tuple[keras.Model, LoopControllerCallback]:
    model, control = resumed.build(), LoopControllerCallback(resumed.CONFIG, resumed.ASYNC)
    backup = Backup(directory)
    callbacks = [control, *more, backup]
    resumed.fit(model, callbacks, epochs=epochs, initial_epoch=backup.epoch)
    return model, control


@pytest.mark.parametrize("at", [1, 2, 4])
def test_what_is_resumed_equals_what_was_never_stopped(at: int, tmp_path: Path) -> None:
    expected = resumed.outcome(*fit(tmp_path / "whole", 4))
    fit(tmp_path / "parts", at)
    result = resumed.outcome(*fit(tmp_path / "parts", 4))
    assert result["control"] == expected["control"]
    for weight, wanted in zip(result["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=1e-6)


def test_one_file_is_kept(tmp_path: Path) -> None:
    fit(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-3-going.weights.h5"]


def test_a_training_that_stopped_itself_says_so(tmp_path: Path) -> None:
    stop = keras.callbacks.Callback()
    stop.on_epoch_end = lambda epoch, logs: setattr(stop.model, "stop_training", epoch == 1)
    fit(tmp_path, 4, stop)
    backup = Backup(tmp_path)
    assert (backup.epoch, backup.stopped) == (2, True)


def test_an_error_while_saving_keeps_the_last_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(tmp_path, 2)

    def half(self: Any, path: Path) -> None:
        path.write_bytes(b"half of")
        raise OSError("no space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", half)
    with pytest.raises(OSError, match="no space left"):
        fit(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-2-going.weights.h5"]
    assert Backup(tmp_path).epoch == 2
