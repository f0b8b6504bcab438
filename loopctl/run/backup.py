"""Backups of a training from which it goes on after any kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from loopctl.config import ConfigError
from loopctl.run.positions import check
from loopctl_shared import CONTROLLER, whole

_SUFFIX = ".weights.h5"


class Backup(keras.callbacks.Callback):
    """Saves a training so that the next `fit` continues it, even after a kill at any moment.

    Pass it as the last callback, because it saves what the others leave behind:
    ``model.fit(..., initial_epoch=backup.epoch, callbacks=[control, backup])``. If loopctl controls
    the training, its state is saved as well.

    Keras' BackupAndRestore overwrites its file in place and keeps the number of the epoch in
    another one. If the process is killed while it writes, there may be nothing left to continue
    from, or an epoch is trained twice. Here, everything is in one file that is replaced atomically.

    Args:
        directory: a directory for this training alone, which is created if it does not exist, and
            never removed.
        steps: save after this many train steps, at the end of an execution, also within an epoch;
            None: after each epoch. It requires a `LoopControllerCallback`. The position in the data
            is saved if TensorFlow can save it; if not, a warning says so. The next `fit` skips the
            steps of the epoch that are done, but tells other callbacks about them.

    Attributes:
        epoch: the first epoch that is not complete, counted from 0.
        step: how many of its train steps are done.
        stopped: whether the training stopped by itself (``model.stop_training``) before the last
            epoch.

    Raises:
        ConfigError: `steps` is not a positive integer; in `fit`, if it begins with another epoch
            or, with `steps`, there is no `LoopControllerCallback` or there are several replicas.
    """

    def __init__(self, directory: str | Path, steps: int | None = None) -> None:
        super().__init__()
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int)):
            raise ConfigError(f"Backup(steps={steps!r}): a number of train steps is needed")
        if steps is not None and steps < 1:
            raise ConfigError(f"Backup(steps={steps!r}): at least 1 is needed")
        self.directory, self.steps = Path(directory), steps
        self.directory.mkdir(parents=True, exist_ok=True)
        files = sorted(self.directory.glob(f"epoch-*{_SUFFIX}"), key=_place)
        self._file = files[-1] if files else None
        self.epoch, self.step = _place(self._file) if self._file else (0, 0)
        self.stopped = bool(self._file and self._file.name.endswith(f"-stopped{_SUFFIX}"))
        self._going_on = False  # whether the epoch that begins next was saved
        self._under_way = 0  # the epoch
        self._saved_at = 0  # train steps of this fit until the last backup

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._saved_at = 0
        if self._file:
            self.model.load_weights(self._file)
            self._going_on = True
        if self.steps is not None:
            check(self.model)
            self._controlled().position.wanted = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._under_way = epoch
        if self.steps is not None and self._controlled().position.epoch != epoch:
            raise ConfigError("put the LoopControllerCallback before the Backup")
        if not self._going_on:
            return
        self._going_on = False
        if epoch != self.epoch:
            raise ConfigError(
                f"fit begins with epoch {epoch}, but the backup in {self.directory} continues with "
                f"epoch {self.epoch}: write fit(..., initial_epoch=backup.epoch)"
            )
        if self.step:
            self._controlled().go_on_in_epoch(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.steps is None:
            return
        position = self._controlled().position
        if position.total - self._saved_at >= self.steps:
            self._saved_at = position.total
            with position.kept():
                self._save(self._under_way, f"step-{position.done}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        stopped = bool(self.model.stop_training)
        # In the middle of the epoch before, the data's own state is known; that of those which
        # have been drawn to the end is not.
        if self.steps is None or stopped or epoch + 1 == self.params.get("epochs"):
            self._save(epoch + 1, "stopped" if stopped else "going")
            self.stopped = stopped

    def _save(self, epoch: int, state: str) -> None:
        file = self.directory / f"epoch-{epoch}-{state}{_SUFFIX}"
        with whole(file) as part:
            self.model.save_weights(part)
        old, self._file = self._file, file
        self.epoch, self.step = _place(file)
        if old and old != file:
            old.unlink()

    def _controlled(self) -> Any:
        control = getattr(self.model, CONTROLLER, None)
        if control is None:
            raise ConfigError(
                "a backup after some steps can only tell where training is if loopctl controls a "
                "model that is built: put a LoopControllerCallback before it, or leave steps out"
            )
        return control


def _place(file: Path) -> tuple[int, int]:
    """The epoch that a file goes on with, and how many steps of it are done."""
    _, epoch, *rest = file.name.removesuffix(_SUFFIX).split("-")
    return int(epoch), int(rest[1]) if rest[0] == "step" else 0
