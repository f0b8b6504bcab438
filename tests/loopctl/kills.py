"""Kills a training again and again, at random, and compares what comes of it with one in peace.

Run by hand: ``python -m tests.loopctl.kills [--kills 50] [--backup ours|steps|keras|double]``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl import Backup, LoopControllerCallback, when

EPOCHS, STEPS, SIZE = 150, 10, 8
CONFIG: dict[str, Any] = {
    "gate": {
        "cond": when.batches % 7 < 4,
        True: {"clipping": (-0.1, 0.1)},
        False: {"loss": "mae", "optimizer": "adam"},
    },
    "late": {"cond": when.loss.mean(25) < 0.5, True: {"loss": None, "regularize": True}},
}


def train(folder: Path, backup: str, data: str) -> None:
    keras.utils.set_random_seed(3)
    hidden = keras.layers.Dense(64, "tanh", kernel_regularizer="l2")
    layers = [hidden, keras.layers.Dropout(0.1), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.Adam(0.002), "mse", jit_compile=False)
    x = np.random.default_rng(5).normal(size=(STEPS * SIZE, 3)).astype("float32")
    control = LoopControllerCallback(CONFIG)
    begun = keras.callbacks.Callback()
    # Those that are passed over, being done already, are none.
    begun.on_train_batch_end = lambda batch, logs: (
        None if control.position.passing else (folder / "begun").touch()
    )
    callbacks, first = [control, begun], 0
    if backup in ("ours", "steps"):
        callbacks.append(Backup(folder / "backup", 3 if backup == "steps" else None))
        first = callbacks[-1].epoch
    elif backup != "none":
        double = backup == "double"
        callbacks.append(
            keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=double)
        )
    y = x.sum(axis=1, keepdims=True)
    given: dict[str, Any] = {"x": x, "y": y, "batch_size": SIZE}
    if data == "shuffled":
        tensors = tf.data.Dataset.from_tensor_slices((x, y))
        given = {"x": tensors.shuffle(len(x), seed=1).batch(SIZE).prefetch(1)}
    model.fit(
        **given,
        epochs=EPOCHS,
        initial_epoch=first,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    rows = {name: control.history.column(name).tolist() for name in ("gate", "late", "loss")}
    weights = [weight.tolist() for weight in model.get_weights()]
    (folder / "result").write_text(json.dumps({"rows": rows, "weights": weights}))


def process(folder: Path, *how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.loopctl.kills", "--train", str(folder), *how]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.Popen(command, env=quiet, stderr=subprocess.PIPE, text=True)


def lived(folder: Path, backup: str, data: str, seconds: float) -> str:
    """What became of a process that was to live for so long after its first step."""
    (folder / "begun").unlink(missing_ok=True)
    running, limit = process(folder, backup, data), time.monotonic() + 300
    while not (folder / "begun").exists() and running.poll() is None:
        if time.monotonic() > limit:
            running.kill()
            return "hung"
        time.sleep(0.01)
    try:
        _, error = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGKILL)
        running.communicate()
        return "killed"
    return "ended" if running.returncode == 0 else f"could not go on: {error.splitlines()[-1]}"


def compared(result: dict[str, Any], expected: dict[str, Any]) -> str:
    for name, rows in expected["rows"].items():
        if len(result["rows"][name]) != len(rows):
            return f"{len(result['rows'][name])} steps instead of {len(rows)}"
        if not np.array_equal(result["rows"][name], rows, equal_nan=True):
            return f"another {name}"
    same = all(map(np.array_equal, result["weights"], expected["weights"]))
    return "the same to the last bit" if same else "other weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--backup", choices=["ours", "steps", "keras", "double"], default="ours")
    options = parser.parse_args()
    if options.train:
        train(Path(options.train[0]), *options.train[1:])
        return
    data = "shuffled" if options.backup == "steps" else "arrays"
    moments, outcomes = random.Random(1), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        lived(Path(folder), "none", data, 600)
        expected = json.loads((Path(folder) / "result").read_text())
    kills = 0
    while kills < options.kills:
        with tempfile.TemporaryDirectory() as name:
            folder, outcome = Path(name), "killed"
            while outcome == "killed" and kills < options.kills:
                outcome = lived(folder, options.backup, data, moments.uniform(0, 3))
                kills += outcome == "killed"
                print(kills, outcome, flush=True)
            if outcome == "killed":
                outcome = lived(folder, options.backup, data, 600)
            if outcome == "ended":
                outcome = compared(json.loads((folder / "result").read_text()), expected)
            outcomes[outcome] += 1
            print(outcome, flush=True)
    print(f"{kills} kills; trainings by outcome: {dict(outcomes)}")


if __name__ == "__main__":
    main()
