"""One worker of a cluster: trains under control and writes down what came of it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl import LoopControllerCallback, distributed, when
from tests.loopctl import all_keys

SIZE, STEPS, EPOCHS = 8, 6, 2
CONFIG: dict[str, Any] = {
    "gate": {
        "cond": when.loss.last() < 9.0,
        True: {"clipping": (-0.1, 0.1), "variables": "*below*"},
        False: {"regularize": True, "clipping": {"global_norm": 0.2}},
    }
}


def build() -> keras.Model:
    keras.utils.set_random_seed(1)
    below = keras.layers.Dense(4, "tanh", kernel_regularizer="l2", name="below")
    model = keras.Sequential([keras.Input((3,)), below, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    return model


def batches() -> list[tuple[Any, Any]]:
    x = np.random.default_rng(0).normal(size=(STEPS, SIZE, 3)).astype("float32")
    return [(part, 2 * part.sum(axis=1, keepdims=True)) for part in x]


class Slowly(keras.callbacks.Callback):
    """Leaves time to be killed, and says by a file that it may happen now."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.path.touch()
        time.sleep(0.3)


def main(path: Path, slowly: bool) -> None:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = build()
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    parts = tuple(np.concatenate(part) for part in zip(*batches(), strict=True))
    data = tf.data.Dataset.from_tensor_slices(parts).batch(SIZE).with_options(options)
    plain = ""
    try:
        model.fit(data, verbose=0)
    except ValueError as error:
        plain = str(error)
    callback = LoopControllerCallback(CONFIG)
    if slowly:
        slow = Slowly(path.with_suffix(".begun"))
        distributed.fit(model, data, callbacks=[callback, slow], epochs=100, verbose=0)
    distributed.fit(model, data, callbacks=[callback], epochs=EPOCHS, verbose=0)
    weights = [weight.tolist() for weight in model.get_weights()]
    keys = {}
    for name in all_keys.BRANCHES:
        with strategy.scope():
            model, control = all_keys.made(name)
        data = tf.data.Dataset.from_tensor_slices(all_keys.data()).batch(all_keys.SIZE)
        distributed.fit(model, data.with_options(options), callbacks=[control], verbose=0)
        keys[name] = all_keys.outcome(model, control)
    result = {
        "keys": keys,
        "control": [bool(step["gate"]) for step in callback.history],
        "weights": weights,
        "plain fit": plain,
    }
    path.write_text(json.dumps(result))


def run(task: str, path: Path, slowly: bool) -> None:
    """As the worker of a task of TF_CONFIG, which prints into a file beside its result."""
    os.environ["TF_CONFIG"] = task
    handle = os.open(path.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(handle, stream.fileno())
    main(path, slowly)
