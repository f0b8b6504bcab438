"""The state of a controlled training: as a dict, as bytes, in Keras' and TensorFlow's checkpoints.

It is made of plain numbers and arrays, so that it can be kept in any way:

- ``counters``: the callback's counters; ``epoch``: index of the epoch under way, None between two
- ``history``: arrays (steps,) by name; ``reinit_start``: where the last reinitialisation was
- ``validation``: numbers by name, one for each epoch that was validated
- ``controls``: control states by action
- ``optimizers``: of each optimizer of a branch's own, its variables
- ``branches``: what branches remember from step to step, lists of arrays by name
- ``random``: likewise, the seeds of the model's layers
- ``within``: likewise, where the training is in an epoch, if that was kept (`positions`)
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

State = dict[str, Any]
_PLAIN = ("counters", "epoch", "reinit_start", "validation", "controls")
_LISTS = ("branches", "random", "within")


def to_bytes(state: Mapping[str, Any]) -> bytes:
    arrays = {f"history/{name}": column for name, column in state["history"].items()}
    for i, variables in enumerate(state["optimizers"]):
        arrays |= {f"optimizers/{i}/{j}": value for j, value in enumerate(variables)}
    for key in _LISTS:
        for name, values in state[key].items():
            arrays |= {f"{key}/{name}/{j}": value for j, value in enumerate(values)}
    plain = {key: state[key] for key in _PLAIN} | {"optimizers": len(state["optimizers"])}
    plain |= {key: list(state[key]) for key in _LISTS}
    arrays["plain"] = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def from_bytes(data: bytes) -> State:
    with np.load(io.BytesIO(data)) as arrays:
        state: State = json.loads(arrays["plain"].tobytes())

        def below(folder: str) -> dict[str, Any]:
            """In the order in which they were written: for the history, that of its columns."""
            names = (name for name in arrays.files if name.startswith(folder))
            return {name.removeprefix(folder): arrays[name] for name in names}

        state.setdefault("validation", {})  # version 0.1 has saved none, nor any of `_LISTS`
        count = state["optimizers"]
        state["history"] = below("history/")
        state["optimizers"] = [list(below(f"optimizers/{i}/").values()) for i in range(count)]
        for key in _LISTS:
            names = state.get(key, [])
            state[key] = {name: list(below(f"{key}/{name}/").values()) for name in names}
    return state


class SavedWithModel(keras.layers.Layer):
    """Carries the state into every file that Keras saves of a model in training, and back.

    Keras saves every layer that is an attribute of a model, so that BackupAndRestore and
    ModelCheckpoint save this one as well. tests/loopctl/run/test_saved_state.py notices if it no
    longer does.
    """

    def __init__(self, get: Callable[[], State], set_: Callable[[State], None]) -> None:
        super().__init__(name="loopctl_state")
        self._get, self._set = get, set_

    def save_own_variables(self, store: Any) -> None:
        store["state"] = np.frombuffer(to_bytes(self._get()), np.uint8)

    def load_own_variables(self, store: Any) -> None:
        if "state" in list(store.keys()):  # Keras 3.8's stores know no `in`
            self._set(from_bytes(np.asarray(store["state"]).tobytes()))


class Tracker(tf.train.experimental.PythonState):
    """The state as a part of a ``tf.train.Checkpoint``."""

    def __init__(self, get: Callable[[], State], set_: Callable[[State], None]) -> None:
        self._get, self._set = get, set_

    def serialize(self) -> bytes:
        return to_bytes(self._get())

    def deserialize(self, string_value: bytes) -> None:
        self._set(from_bytes(string_value))
