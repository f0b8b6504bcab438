"""Every train step in TensorBoard: losses, metrics and the timeline of control states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from loopctl.run import LoopControllerCallback

__all__ = ["StepBoard"]


class StepBoard(keras.callbacks.Callback):
    """A Keras callback that writes every train step of a `LoopControllerCallback` for TensorBoard.

    It writes at the end of each epoch. Losses and metrics become the scalars ``steps/<name>``,
    control states ``control/<action>``, 0 or 1. Keras' own ``TensorBoard`` callback shows the same
    names by epoch. Needs the package tensorboard, which the extra ``board`` installs.

    Args:
        control: the callback whose history is written; it may come before or after this one.
        log_dir: the folder for event files.
    """

    def __init__(self, control: LoopControllerCallback, log_dir: str | Path) -> None:
        super().__init__()
        self.control, self.log_dir = control, str(log_dir)
        self._seen: list[dict[str, Any]] = []  # columns of the epoch's executions
        self._recorded = self._step = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._seen, self._step = [], 0
        self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._recorded = len(self.control.history)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # At once: an action at the epoch's end may begin a new history.
        self._seen.append(self.control.history.since(self._recorded).to_dict())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with self._writer.as_default():
            for columns in self._seen:
                self._write(columns)
        self._seen = []
        self._writer.flush()

    def _write(self, columns: dict[str, Any]) -> None:
        steps = 0
        for name, column in columns.items():
            folder = "control" if name in self.control.config else "steps"
            for i, value in enumerate(column.astype(float)):
                tf.summary.scalar(f"{folder}/{name}", value, step=self._step + i)
            steps = len(column)
        self._step += steps

    def on_train_end(self, logs: Any = None) -> None:
        self._writer.close()
