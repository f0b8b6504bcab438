"""Backups of a training from which it goes on after any kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from loopctl_shared import whole


class Backup(keras.callbacks.Callback):
    """Saves a training after each epoch, so that the next `fit` goes on from there.

    ``model.fit(..., initial_epoch=backup.epoch, callbacks=[control, backup])``, the backup last: it
    keeps what the others leave behind. Under control, the state of control is saved as well.

    Keras' BackupAndRestore overwrites its file in place, and the epoch's number is in another one:
    a kill while it writes leaves nothing to go on from, or an epoch that is trained twice. Here
    everything is in one file, which is replaced at once.

    Args:
        directory: of this training alone, made if missing. It is the caller's to remove.

    Attributes:
        epoch: the first that is not trained yet, from 0.
        stopped: whether the training ended itself (``model.stop_training``) before the last epoch.
    """

    def __init__(self, directory: str | Path) -> None:
        super().__init__()
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        files = sorted(self.directory.glob(self._name("*", "*")), key=self._number)
        self._file = files[-1] if files else None
        self.epoch = self._number(self._file) if self._file else 0
        self.stopped = bool(self._file and self._file.name == self._name(self.epoch, "stopped"))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._file:
            self.model.load_weights(self._file)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch, self.stopped = epoch + 1, self.model.stop_training
        old, state = self._file, "stopped" if self.stopped else "going"
        self._file = self.directory / self._name(self.epoch, state)
        with whole(self._file) as part:
            self.model.save_weights(part)
        if old and old != self._file:
            old.unlink()

    @staticmethod
    def _name(epoch: int | str, state: str) -> str:
        return f"epoch-{epoch}-{state}.weights.h5"

    @staticmethod
    def _number(path: Path) -> int:
        return int(path.name.split("-")[1])
