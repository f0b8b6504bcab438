"""One worker of a cluster that trains under a guard, and writes down what the guard said."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, distributed
from tests.loopctl import worker


def guarded(model: tf.Module, data: tf.data.Dataset, **kept: object) -> str:
    """What a guard says of a training; empty if nothing."""
    guard = verify.Guard(every=1, **kept)
    callbacks = [LoopControllerCallback(worker.CONFIG), guard]
    try:
        distributed.fit(model, data, callbacks=callbacks, verbose=0)
    except verify.GraphAssertionError as error:
        return str(error)
    return ""


def run(task: str, path: Path) -> None:
    """As the worker of a task of TF_CONFIG, which prints into a file beside its result."""
    os.environ["TF_CONFIG"] = task
    handle = os.open(path.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(handle, stream.fileno())
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = worker.build()
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    parts = tuple(np.concatenate(part) for part in zip(*worker.batches(), strict=True))
    data = tf.data.Dataset.from_tensor_slices(parts).batch(worker.SIZE).with_options(options)
    said = {
        "before": [weight.tolist() for weight in model.get_weights()],
        "kept": guarded(model, data, loss="mse", watched="*"),
        "weights": [weight.tolist() for weight in model.get_weights()],
        "broken": guarded(model, data, loss="mae", watched="*"),
        "after": [weight.tolist() for weight in model.get_weights()],
    }
    path.write_text(json.dumps(said))
