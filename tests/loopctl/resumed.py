"""A training that may be killed: run again, it goes on from its backup."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback, when

EPOCHS, STEPS, SIZE = 4, 5, 4
KILLED_IN, KILLED_AT = 2, 4  # epoch and step
CONFIG: dict[str, Any] = {
    "gate": {
        "cond": lambda self: self.batches % 7 < 4,
        True: {"clipping": (-0.1, 0.1)},
        False: {"loss": "mae", "optimizer": "adam"},
    },
    "late": {
        "cond": (when.loss.mean(8) < 2.0) & (when.reinit_epochs >= 1),
        True: {"loss": None, "regularize": True},
    },
}


def forget(self: LoopControllerCallback) -> None:
    self.reinit_epochs = 0
    self.reinit_history = []


ASYNC = {"forget": {"cond": lambda self: self.epochs == 2, "callback": forget}}


def build() -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh", kernel_regularizer="l2"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.02), "mse")
    return model


def data() -> tuple[Any, Any]:
    x = np.random.default_rng(5).normal(size=(STEPS * SIZE, 3)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def fit(model: keras.Model, callbacks: list[Any], **arguments: Any) -> None:
    options = {"batch_size": SIZE, "shuffle": False, "verbose": 0, "epochs": EPOCHS}
    model.fit(*data(), callbacks=callbacks, **{**options, **arguments})


def outcome(model: keras.Model, control: LoopControllerCallback) -> dict[str, Any]:
    rows = [[bool(step["gate"]), bool(step["late"])] for step in control.history]
    return {"control": rows, "weights": [weight.tolist() for weight in model.get_weights()]}


@functools.cache
def uninterrupted(freq: str) -> dict[str, Any]:
    """The same training in one go; by steps it repeats what Keras repeats of a killed epoch."""
    model, control = build(), LoopControllerCallback(CONFIG, ASYNC)
    if freq == "epoch":
        fit(model, [control])
        return outcome(model, control)
    # Keras counts a backup after every third step or later; the last one before the kill was
    # after step 2 (from 0) of the killed epoch, which then begins anew.
    backup = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: (
            setattr(model, "stop_training", True) if control.batches == BACKED_UP else None
        )
    )
    fit(model, [control, backup])
    state = control.get_state()
    again = LoopControllerCallback(CONFIG, ASYNC)
    state["epoch"], state["counters"]["epochs"] = KILLED_IN, KILLED_IN
    state["counters"]["reinit_epochs"] = 0
    again.set_state(state)
    fit(model, [again], initial_epoch=KILLED_IN)
    return outcome(model, again)


BACKED_UP = KILLED_IN * STEPS + 2


class Killed(keras.callbacks.Callback):
    """Says that it is time to kill this process, and waits for it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.epoch = folder, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (self.epoch, batch) == (KILLED_IN, KILLED_AT - 1):
            (self.folder / "reached").touch()
            time.sleep(600)


def main(folder: Path, order: str, freq: str, slow: bool) -> None:
    model, control = build(), LoopControllerCallback(CONFIG, ASYNC)
    backup = keras.callbacks.BackupAndRestore(
        folder / "backup", save_freq="epoch" if freq == "epoch" else int(freq)
    )
    callbacks = [backup, control] if order == "backup first" else [control, backup]
    fit(model, [*callbacks, Killed(folder)] if slow else callbacks)
    (folder / "result").write_text(json.dumps(outcome(model, control)))
