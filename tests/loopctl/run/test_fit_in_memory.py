"""A fit on data in memory is the fit on an iterator of them, and what an eager loop comes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import Backup, LoopControllerCallback, when
from loopctl.run import data_in_memory
from loopctl.run.data_in_memory import DataInMemory, Reader
from tests.grids import grid
from tests.oracle import eager
from tests.replicas import mirrored

X = np.random.default_rng(0).normal(size=(45, 3)).astype("float32")
Y = (X.sum(axis=1, keepdims=True) > 0).astype("float32")
WEIGHTS = np.random.default_rng(1).uniform(0.1, 2.0, 45).astype("float32")

BRANCHES: dict[str, Any] = {
    "gate": {True: {"clipping": (-0.1, 0.1), "regularize": True}, False: {"optimizer": "sgd"}},
    "late": {True: {"loss": "mae", "accumulate": 2}},
}
IN_GRAPH = {
    "gate": (when.batches % 3 < 2) | (when.batches_in_epochs == 5),
    "late": (when.epochs >= 1) & (when.loss.mean(4) < 0.9) & (when.mae.last() > 0.0),
}
IN_PYTHON = {
    "gate": lambda self: self.batches % 3 < 2 or self.batches_in_epochs == 5,
    "late": lambda self: self.epochs >= 1 and np.mean([s["loss"] for s in self.history[-4:]]) < 0.9,
}


def config(conditions: dict[str, Any]) -> dict[str, Any]:
    return {name: {"cond": conditions[name], **branches} for name, branches in BRANCHES.items()}


def build(steps: int = 1, *, jit_compile: bool = False, dropout: float = 0.3) -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Dense(4, "tanh", kernel_regularizer="l2"),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    settings = {"steps_per_execution": steps, "jit_compile": jit_compile}
    model.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"], **settings)
    return model


Run = tuple[keras.Model, LoopControllerCallback, dict[str, list[float]]]


class Read(keras.callbacks.Callback):
    """Counts the batches that were taken from memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.batches, move = 0, Reader.move

        def counted(reader: Reader, steps: int) -> None:
            self.batches += steps
            move(reader, steps)

        monkeypatch.setattr(Reader, "move", counted)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    return Read(monkeypatch)


def assert_same(ours: Run, theirs: Run) -> None:
    assert_close(ours[0].get_weights(), theirs[0].get_weights())
    variables = (run[0].optimizer.variables for run in (ours, theirs))
    assert_close(*([np.asarray(v) for v in group] for group in variables))
    found, wanted = (run[1].history.to_dict() for run in (ours, theirs))
    assert found.keys() == wanted.keys()
    assert_close(list(found.values()), list(wanted.values()))
    counters = [run[1].get_state()["counters"] for run in (ours, theirs)]
    assert counters[0] == counters[1]
    assert ours[2].keys() == theirs[2].keys()
    assert_close(list(ours[2].values()), list(theirs[2].values()))


def assert_close(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-4, atol=1e-6)


def fixed(batch: int = 8) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS)).batch(batch).cache()


class Fewer(keras.callbacks.Callback):
    """Has other numbers of steps in an execution from the second one of an epoch on."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.model.steps_per_execution = 2


def stop(callback: LoopControllerCallback) -> None:
    callback.model.stop_training = True


def forget(callback: LoopControllerCallback) -> None:
    callback.history = []


ASYNC: dict[str, Any] = {"forget": {"step": when.batches == 8, "callback": forget}}
STOP: dict[str, Any] = {"stop": {"step": when.batches == 10, "callback": stop}}
ARRAYS: dict[str, Any] = {"x": X, "y": Y, "batch_size": 8}
KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "shuffled": lambda: ARRAYS,
    "in order": lambda: {**ARRAYS, "shuffle": False},
    "sample weights": lambda: {**ARRAYS, "sample_weight": WEIGHTS},
    "class weights": lambda: {**ARRAYS, "class_weight": {0: 0.2, 1: 3.0}},
    "validated": lambda: {
        **ARRAYS,
        "validation_split": 0.3,
        "epochs": 9,
        "callbacks": [
            keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=0.1),
        ],
        "config": {**config(IN_GRAPH), "more": {"cond": when.val_loss.last() < 1.0, True: {}}},
    },
    "by steps": lambda: {"x": X, "y": Y, "steps_per_epoch": 4},
    "too few": lambda: {**ARRAYS, "steps_per_epoch": 4, "epochs": 5},
    "paused": lambda: {**ARRAYS, "actions": ASYNC},
    "stopped": lambda: {**ARRAYS, "actions": {**ASYNC, **STOP}, "epochs": 4},
    "by other numbers": lambda: {**ARRAYS, "callbacks": [Fewer()]},
    "fixed": lambda: {"x": fixed()},
    "fixed, again and again": lambda: {"x": fixed(9).repeat(), "steps_per_epoch": 7},
    "one at a time": lambda: {"x": X[:9], "y": Y[:9], "batch_size": 1},
}
WAYS = [
    {"steps": steps, "jit_compile": jit_compile}
    for steps, jit_compile in ((1, False), (50, False), (4, True), (3, False))
]


def fit(kind: dict[str, Any], **way: Any) -> Run:
    kind = {"epochs": 3, "verbose": 0, "config": config(IN_GRAPH), "actions": None, **kind}
    model = build(**way)
    control = LoopControllerCallback(kind.pop("config"), kind.pop("actions"))
    callbacks = [control, *kind.pop("callbacks", ())]
    return model, control, model.fit(callbacks=callbacks, **kind).history


@pytest.mark.parametrize(("kind", "way"), grid(list(KINDS), WAYS))
@pytest.mark.filterwarnings("ignore:Your input ran out of data", "ignore:.*no epoch has been")
def test_it_is_a_fit_on_an_iterator(
    kind: str, way: dict[str, Any], read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = fit(KINDS[kind](), **way)
    assert read.batches == len(ours[1].history) or "forget" in str(KINDS[kind]().get("actions"))
    assert read.batches > 4
    monkeypatch.setattr(data_in_memory, "rows_of", lambda dataset: None)
    taken = read.batches
    theirs = fit(KINDS[kind](), **way)
    assert read.batches == taken
    assert_same(ours, theirs)


@pytest.mark.parametrize("way", [*WAYS, {"steps": 1, "jit_compile": True}], ids=str)
def test_it_is_what_an_eager_loop_comes_to(way: dict[str, Any], read: Read) -> None:
    model, control, _ = fit({**ARRAYS, "shuffle": False}, **way, dropout=0.0)
    plain = build(dropout=0.0)
    batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, len(X), 8)]
    rows = eager.train(plain, config(IN_PYTHON), batches, epochs=3)
    assert read.batches == len(rows) == 18
    for name in rows[0]:
        wanted = np.array([float(row[name]) for row in rows])
        np.testing.assert_allclose(control.history.column(name), wanted, rtol=1e-3, atol=1e-5)
    assert_close(model.get_weights(), plain.get_weights())


def test_it_is_a_plain_fit_where_control_changes_nothing(read: Read) -> None:
    """The same batches in the same order as Keras has them, by the same seed."""
    every = {"all": {"cond": when.always, True: {"regularize": True}}}
    ours = fit({**ARRAYS, "config": every}, steps=4)
    assert read.batches == 18
    plain = build(4)
    plain.fit(**ARRAYS, epochs=3, verbose=0)
    assert_close(ours[0].get_weights(), plain.get_weights())


def test_python_conditions_are_asked_before_each_step(read: Read) -> None:
    ours = fit({**ARRAYS, "config": config(IN_PYTHON)})
    assert read.batches == 18
    assert_same(ours, fit(ARRAYS))


def test_other_callbacks_see_what_they_would() -> None:
    """Weights and logs after each batch, as numbers."""
    seen: list[Any] = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((batch, dict(logs), model.get_weights()))
    )
    model, control = build(2), LoopControllerCallback(config(IN_GRAPH))
    model.fit(**ARRAYS, verbose=0, callbacks=[control, look])
    assert [batch for batch, *_ in seen] == [1, 3, 5]
    assert all(isinstance(value, float) for _, logs, _ in seen for value in logs.values())
    assert [logs["mae"] for _, logs, _ in seen] == pytest.approx(
        control.history.column("mae")[1::2].tolist(), rel=1e-6
    )
    assert not np.array_equal(seen[0][2][0], seen[1][2][0])


def test_a_step_outside_of_fit_leaves_its_data_alone(read: Read) -> None:
    class Interrupting(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                control.train_on_batch(X[:8], Y[:8])

    seen: list[Any] = []

    def objective(model: keras.Model, data: Any) -> Any:
        total.assign_add(tf.reduce_sum(data[0]))
        predicted = model(data[0])
        return keras.ops.mean(keras.ops.square(predicted - data[1])), predicted

    total = tf.Variable(0.0)
    model = build()
    control = LoopControllerCallback({"a": {"cond": when.always, True: {"objective": objective}}})
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(float(total.numpy()))
    )
    model.fit(**ARRAYS, verbose=0, callbacks=[control, Interrupting(), look])
    assert seen == [pytest.approx(X.sum() + X[:8].sum(), abs=1e-3)]
    assert read.batches == 6
    assert control.batches == 7


@pytest.mark.parametrize("steps", [None, 2])
def test_resumed(steps: int | None, tmp_path: Path, read: Read) -> None:
    """A place in the data is that of their iterator: it is drawn from, if it is to be kept."""

    class Killed(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if control.batches >= 10:
                raise KeyboardInterrupt

    runs = []
    for folder, killed in (("whole", False), ("parts", True), ("parts", False)):
        model, control = build(2), LoopControllerCallback(config(IN_GRAPH))
        backup = Backup(tmp_path / folder, steps)
        callbacks = [control, backup, *([Killed()] if killed else [])]
        settings = {"epochs": 3, "initial_epoch": backup.epoch, "verbose": 0, **ARRAYS}
        if killed:
            with pytest.raises(KeyboardInterrupt):
                model.fit(callbacks=callbacks, **settings)
        else:
            runs.append((model, control, model.fit(callbacks=callbacks, **settings).history))
    assert bool(read.batches) is (steps is None)
    whole, parts = runs
    logs = {name: values[-len(parts[2]["mae"]) :] for name, values in whole[2].items()}
    assert_same(parts, (*whole[:2], logs))


def test_eager_steps_and_replicas_draw_from_iterators(read: Read) -> None:
    model, control = build(), LoopControllerCallback(config(IN_GRAPH))
    model.run_eagerly = True
    model.fit(X[:16], Y[:16], batch_size=8, verbose=0, callbacks=[control])
    tf.config.run_functions_eagerly(True)
    try:
        fit({"x": X[:16], "y": Y[:16], "batch_size": 8, "epochs": 1})
    finally:
        tf.config.run_functions_eagerly(False)
    with mirrored().scope():
        model = build()
    model.fit(**ARRAYS, verbose=0, callbacks=[LoopControllerCallback(config(IN_GRAPH))])
    assert read.batches == 0


def test_other_numbers_of_rows_need_no_other_program(read: Read) -> None:
    """Which takes seconds to compile."""
    model, control = build(4, jit_compile=True), LoopControllerCallback(config(IN_GRAPH))
    counts = []
    for length in (45, 37, 29):  # batches of 8, and a last one of 5
        model.fit(X[:length], Y[:length], batch_size=8, verbose=0, callbacks=[control])
        assert control._function is not None
        function = control._function
        functions = (function._on_many, function._on_one)
        counts.append([traced.experimental_get_tracing_count() for traced in functions])
    assert counts == 3 * [[1, 1]]
    assert read.batches == 6 + 5 + 4


def test_nothing_of_a_fit_is_left(read: Read) -> None:
    model, control = build(), LoopControllerCallback(config(IN_GRAPH))
    model.fit(**ARRAYS, verbose=0, callbacks=[control])
    assert isinstance(control._data, DataInMemory)
    assert (control._data._iterator, control._data._reader) == (None, None)
