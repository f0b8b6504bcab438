"""Several replicas and several workers train as one device does on the same global batches."""

from __future__ import annotations

import json
import socket
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

import verify
from loopctl import ConfigError, LoopControllerCallback, distributed, when
from tests import forked
from tests.loopctl import all_keys, resumed, worker
from tests.oracle import eager
from tests.replicas import mirrored
from tests.verify.steps import batch, dense
from verify import strategies

STEPS, SIZE = 6, 8


@pytest.mark.parametrize(
    "settings",
    [{"clipping": (-0.1, 0.1)}, {"clipping": {"global_norm": 1.0}}, {"regularize": True}],
    ids=str,
)
def test_a_config_holds_among_replicas(settings: dict[str, Any]) -> None:
    """Clips of whole gradients; terms of which each replica has its part."""
    with mirrored().scope():
        model = dense(kernel=keras.regularizers.L2(0.01))
        model.compile("sgd", "mse")
    config = {"a": {"cond": when.epochs < 1, True: settings, False: {"loss": "mae"}}}
    callback = LoopControllerCallback(config).attach(model)
    verify.assert_config(model, callback, batch())
    other = LoopControllerCallback({"a": {**config["a"], True: {"clipping": (-0.2, 0.2)}}})
    with pytest.raises(verify.GraphAssertionError, match="clipping"):
        verify.assert_config(model, other, batch())


# Two replicas take six seconds each: the default profile trains 2 set-ups, `thorough` 83.
@settings(max_examples=settings.default.max_examples // 6)
@given(strategies.setups(strategies.predicate_pairs()))
def test_two_replicas_train_as_an_eager_loop(setup: strategies.Setup) -> None:
    x, y = setup.data(STEPS, SIZE)
    reference = setup.model()
    batches = [(x[i : i + SIZE], y[i : i + SIZE]) for i in range(0, STEPS * SIZE, SIZE)]
    expected = eager.train(reference, setup.twin, batches)

    with mirrored().scope():
        model = setup.model(steps_per_execution=3)
    model.set_weights(reference_start(setup))
    callback = LoopControllerCallback(setup.config)
    model.fit(x, y, batch_size=SIZE, shuffle=False, verbose=0, callbacks=[callback])
    for step, wanted in zip(callback.history, expected, strict=True):
        for name in wanted:
            np.testing.assert_allclose(step[name], wanted[name], rtol=1e-4, atol=1e-6)
    for variable, wanted in zip(model.variables, reference.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-6)


def mean_of_all(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y_true - y_pred))


class MeanOfAll(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_of_all(y_true, y_pred)


@pytest.mark.parametrize("loss", [mean_of_all, MeanOfAll(), [mean_of_all, "mse"]])
def test_a_loss_that_is_one_number_counts_once_among_replicas(loss: Any) -> None:
    x = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
    several = isinstance(loss, list)
    y = [x[:, :1], x[:, 1:2]] if several else x[:, :1]

    def build() -> keras.Model:
        keras.utils.set_random_seed(1)
        inputs = keras.Input((3,))
        outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")]
        made = keras.Model(inputs, outputs if several else outputs[0])
        made.compile(keras.optimizers.SGD(0.1), "mse")
        return made

    with mirrored().scope():
        model = build()
    alone, config = build(), {"all": {"cond": when.always, True: {"loss": loss}}}
    for one in (model, alone):
        callback = LoopControllerCallback(config)
        one.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[callback])
    for a, b in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def reference_start(setup: strategies.Setup) -> list[Any]:
    weights: list[Any] = setup.model().get_weights()
    return weights


def test_python_conditions_among_replicas() -> None:
    with mirrored().scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    callback = LoopControllerCallback(
        {"odd": {"cond": lambda self: self.batches % 2 == 1, True: {}, False: {"loss": "mae"}}}
    )
    x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
    model.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=[callback])
    assert [step["odd"] for step in callback.history] == [False, True, False, True]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def started(folder: Path, *, slowly: bool) -> list[BaseProcess]:
    """The two workers of a cluster; what they print is in ``0.log`` and ``1.log``."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    tasks = [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]
    return [
        forked.start(worker.run, task, folder / f"{index}.json", slowly)
        for index, task in enumerate(tasks)
    ]


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_dies_ends_the_other(index: int, tmp_path: Path) -> None:
    """TensorFlow notices by missing heartbeats, some seconds later; nobody waits forever."""
    processes = started(tmp_path, slowly=True)
    try:
        deadline = time.monotonic() + 240
        while not all((tmp_path / f"{i}.begun").exists() for i in range(2)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        processes[index].kill()
        processes[1 - index].join(240)
    finally:
        for process in processes:
            process.kill()
    assert processes[1 - index].exitcode == 1
    assert "UnavailableError" in (tmp_path / f"{1 - index}.log").read_text()


def test_two_workers_take_the_same_branches_and_train_as_one(tmp_path: Path) -> None:
    """Their local losses differ; the branches are chosen by the loss of the global batch."""
    processes = started(tmp_path, slowly=False)
    first, second = forked.told(processes, tmp_path)
    assert first["control"] == second["control"]
    assert len(set(first["control"])) == 2, "both branches should have been taken"
    assert first["weights"] == second["weights"]
    assert first["keys"] == second["keys"]

    model, batches = worker.build(), worker.batches()
    callback = LoopControllerCallback(worker.CONFIG)
    model.fit(
        np.concatenate([x for x, _ in batches]),
        np.concatenate([y for _, y in batches]),
        batch_size=worker.SIZE,
        epochs=worker.EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[callback],
    )
    assert [bool(step["gate"]) for step in callback.history] == first["control"]
    for ours, theirs in zip(model.get_weights(), first["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    for name, found in first["keys"].items():
        all_keys.assert_same(found, all_keys.alone(name))
    # Why `distributed.fit` is there: should this ever be empty, Keras' own fit will do.
    assert "PerReplica" in first["plain fit"]


def test_a_distributed_fit_needs_a_controller_and_a_built_model() -> None:
    model = keras.Sequential([keras.layers.Dense(1)])
    data = tf.data.Dataset.from_tensors((tf.zeros((4, 3)), tf.zeros((4, 1))))
    with pytest.raises(ConfigError, match="there is nothing to control"):
        distributed.fit(model, data, callbacks=[])
    callback = LoopControllerCallback({"all": {"cond": when.always, True: {}}})
    with pytest.raises(ConfigError, match="must be compiled and built"):
        distributed.fit(model, data, callbacks=[callback])


def test_a_killed_fit_is_resumed_where_it_was(tmp_path: Path) -> None:
    """On one process; that `fit` reads what Keras keeps in private is noticed here."""
    x, y = resumed.data()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(resumed.SIZE)

    def train(*others: Any, **options: Any) -> tuple[keras.callbacks.History, dict[str, Any]]:
        model = resumed.build()
        control = LoopControllerCallback(resumed.CONFIG, resumed.ASYNC)
        callbacks = [control, *others]
        history = distributed.fit(
            model, data, callbacks=callbacks, epochs=resumed.EPOCHS, verbose=0, **options
        )
        return history, resumed.outcome(model, control)

    def kill(epoch: int, logs: Any) -> None:
        if epoch == resumed.KILLED_IN:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
            keras.callbacks.LambdaCallback(on_epoch_begin=kill),
        )
    history, result = train(keras.callbacks.BackupAndRestore(tmp_path / "backup"))
    assert history.epoch == list(range(resumed.KILLED_IN, resumed.EPOCHS))
    whole, expected = train()
    assert whole.epoch == list(range(resumed.EPOCHS))
    assert result == expected


def test_epochs_that_are_done_and_a_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    model, (x, y) = resumed.build(), resumed.data()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(resumed.SIZE)
    control = LoopControllerCallback(resumed.CONFIG)
    history = distributed.fit(model, data, callbacks=[control], initial_epoch=2, epochs=3)
    assert history.epoch == [2]
    assert control.batches == resumed.STEPS
    assert "Epoch 3/3" in capsys.readouterr().out


def scaled() -> keras.Model:
    """Normalised, regularised, under a loss scale."""
    layers = [
        keras.layers.BatchNormalization(momentum=0.5, center=False, scale=False, name="normal"),
        keras.layers.Dense(4, kernel_regularizer="l2"),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05)), "mse")
    return model


def test_loss_scales_and_statistics_among_replicas() -> None:
    """Each replica holds the same samples, so that its batch statistics are those of the whole."""
    config = {
        "main": {"cond": when.every(2), True: {"clipping": (-0.1, 0.1)}, False: {"loss": "mae"}},
        "more": {
            "cond": when.always,
            True: {"regularize": True, "clipping": {"global_norm": 0.2}, "repeat": 2},
        },
    }
    x = np.tile(np.random.default_rng(0).normal(size=(5, 1, 4, 3)), (1, 2, 1, 1)) + 1
    x = x.reshape(-1, 3).astype("float32")
    keras.utils.set_random_seed(3)
    single = scaled()
    with mirrored().scope():
        model = scaled()
    model.set_weights(single.get_weights())
    for one in (single, model):
        callback = LoopControllerCallback(config)
        one.fit(x, x[:, :1], batch_size=8, shuffle=False, verbose=0, callbacks=[callback])
    for ours, theirs in zip(model.get_weights(), single.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
