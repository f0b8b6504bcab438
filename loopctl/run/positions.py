"""Where a training is in the middle of an epoch: in its data, its means, its graph's own counters.

Kept by a `Backup` that saves after so many steps, on top of what `saved_state` keeps of a training.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from loopctl.compile import Steps
from loopctl.config import ConfigError
from loopctl.run import first_batch
from loopctl.run.train_function import without_optionals
from loopctl_shared import warn_user

Array = np.ndarray[Any, Any]
Within = dict[str, list[Any]]

_NOT_SAVED = (tf.errors.FailedPreconditionError, tf.errors.UnimplementedError)


class Progressing(Protocol):
    """What is read and set of the callback whose position this is."""

    @property
    def steps(self) -> Steps:
        """Compiled for the model in training."""


class Position:
    """In the epoch under way, of one callback.

    Attributes:
        epoch: index of the epoch under way.
        done: train steps of this epoch.
        total: train steps of this fit, without those that were done before it.
        wanted: whether somebody is going to keep it.
        passing: whether the steps that `fit` asks for now are done already.
    """

    def __init__(self, callback: Progressing) -> None:
        self._callback = callback
        self._keeping, self._told = False, False
        self.begin_training()

    def begin_training(self) -> None:
        """As a training begins."""
        self.total, self.wanted = 0, False
        self.begin(None)

    def begin(self, epoch: int | None) -> None:
        """As an epoch begins."""
        self.epoch = epoch
        self.done, self._left = 0, 0
        self.passing = False
        self._drawing = False  # whether a step of it was asked for
        # The data's state as the epoch began. Later, all of a data set may have been drawn to wait
        # for its turn, and then TensorFlow forgets how often it has been shuffled.
        self._start: list[Array] = []
        self._waiting: Within | None = None

    @property
    def ahead(self) -> bool:
        """Whether the next step that `fit` asks for is done already."""
        return self._left > 0

    def count(self, steps: int) -> None:
        """Counts train steps."""
        self.done += steps
        self.total += steps

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """While it lasts, the state of the callback holds the position."""
        self._keeping = True
        try:
            yield
        finally:
            self._keeping = False

    def state(self, *more: int) -> Within:
        """What has to be known to go on from here, if it is to be kept, and `more` of the host."""
        if not self._keeping:
            return {}
        steps = self._callback.steps
        values = {"done": [self.done, *more], "metrics": steps.model.metrics_variables}
        found = {
            name: [np.asarray(tf.convert_to_tensor(v)) for v in variables]
            for name, variables in (values | steps.state.within_epoch).items()
        }
        return found | {"data": self._start}

    def go_on(self, within: Within) -> None:
        """Lets `fit` pass over the steps that are done, as soon as it draws from its data."""
        self._waiting = within
        self._left = int(within["done"][0])

    def pass_over(self, iterator: Any, count: int) -> bool:
        """Whether an execution of `count` steps is done already."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._take_up(iterator, waiting)
        elif self.wanted and not self._drawing:
            self._start = self._saved(iterator)
        self._drawing = True
        self.passing = self._left > 0
        self._left = max(self._left - count, 0)
        return self.passing

    def _take_up(self, iterator: Any, within: Within) -> None:
        steps, self.done = self._callback.steps, int(within["done"][0])
        batch = next(iterator)
        # Metrics make their variables when they first see a batch, objectives when they are called.
        first_batch.prepare(steps, without_optionals(batch))
        variables = {"metrics": steps.model.metrics_variables, **steps.state.within_epoch}
        for name, group in variables.items():
            for variable, value in zip(group, within[name], strict=True):
                variable.assign(value)
        self._start, drawn = within["data"], 1
        if self._start:
            _load(iterator, self._start)
            drawn = 0
        for _ in range(self.done - drawn):
            next(iterator)

    def _saved(self, iterator: Any) -> list[Array]:
        """The state of the data's iterator; empty if it can't be saved, which is told once."""
        try:
            return _saved(iterator)
        except _NOT_SAVED as error:
            if not self._told:
                self._told = True
                reason = (error.message or "").split("[")[0].split("}} ")[-1].strip()
                warn_user(
                    f"the position in the data can't be saved ({reason}): a training that "
                    "continues from this backup reads and skips as many batches as it has "
                    "trained on, which are the same if they come in the same order. A "
                    "tf.data.Dataset without Python and unseeded random numbers can be saved"
                )
            return []


def check(model: keras.Model) -> None:
    """Raises a ConfigError if no position is known of the training of `model`."""
    if model.distribute_strategy.num_replicas_in_sync > 1:
        raise ConfigError(
            "Backup(steps=...) is for one replica: the iterator of data that are distributed can't "
            "be saved. Leave steps out, for a backup after each epoch"
        )


def _saved(iterator: Any) -> list[Array]:
    with tempfile.TemporaryDirectory() as folder:
        tf.train.Checkpoint(iterator=iterator).write(f"{folder}/data")
        files = sorted(Path(folder).iterdir())
        names = np.frombuffer("\n".join(file.name for file in files).encode(), np.uint8)
        return [names, *(np.frombuffer(file.read_bytes(), np.uint8) for file in files)]


def _load(iterator: Any, saved: list[Array]) -> None:
    names = saved[0].tobytes().decode().split("\n")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in zip(names, saved[1:], strict=True):
            (Path(folder) / name).write_bytes(data.tobytes())
        status = tf.train.Checkpoint(iterator=iterator).read(f"{folder}/data")
        status.assert_consumed()


def last_logs(steps: Steps, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was logged of the last step that is done, whose values are a `row` of the history."""
    values = {name: tf.constant(float(value), tf.float32) for name, value in row.items()}
    logs: Mapping[str, Any] = steps.logs(values)
    return logs
