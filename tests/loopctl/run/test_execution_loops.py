"""Many steps in one program of XLA train as one step after the other does."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import LoopControllerCallback, when
from loopctl.run import execution_loops
from tests.oracle import eager

X = np.random.default_rng(0).normal(size=(52, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(52, 1)).astype("float32")
BATCHES = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, len(X), 8)]  # seven, of which one has 4

# The same conditions, for the graph and for Python.
BRANCHES: dict[str, Any] = {
    "gate": {True: {"clipping": (-0.1, 0.1), "regularize": True}, False: {"repeat": 2}},
    "late": {True: {"loss": "mae"}},
}
IN_GRAPH = {"gate": when.batches % 3 < 2, "late": when.loss.last() < 1.2}
IN_PYTHON = {
    "gate": lambda self: self.batches % 3 < 2,
    "late": lambda self: bool(self.history) and self.history[-1]["loss"] < 1.2,
}


def config(conditions: dict[str, Any]) -> dict[str, Any]:
    return {name: {"cond": conditions[name], **branches} for name, branches in BRANCHES.items()}


def build(steps: int, *, jit_compile: bool = True) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, "tanh", kernel_regularizer="l2")]
    )
    model.add(keras.layers.Dense(1))
    model.compile("adam", "mse", steps_per_execution=steps, jit_compile=jit_compile)
    return model


@functools.cache
def reference(batches: int, epochs: int = 1) -> tuple[list[dict[str, Any]], list[Any]]:
    """What plain steps on the first batches come to, by an eager loop: rows and weights."""
    plain = build(1)
    rows = eager.train(plain, config(IN_PYTHON), BATCHES[:batches], epochs)
    return rows, [weight.numpy() for weight in plain.weights]


def drawn(batches: int = len(BATCHES)) -> tf.data.Dataset:
    """Data that are made each time, so that nobody can take them from memory."""
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).take(batches)
    return data.map(lambda x, y: (x, y))


class Programs(keras.callbacks.Callback):
    """Counts the batches that each program of XLA was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.sizes: list[int] = []
        draw = execution_loops.AtOnce._draw

        def noted(self_: Any, *arguments: Any) -> Any:
            batches, taken, batch = draw(self_, *arguments)
            taken = tf.py_function(self._note, [taken], tf.int32)
            taken.set_shape(())
            return batches, taken, batch

        monkeypatch.setattr(execution_loops.AtOnce, "_draw", noted)

    def _note(self, taken: Any) -> Any:
        self.sizes.append(int(taken))
        return taken


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    return Programs(monkeypatch)


@pytest.mark.parametrize(
    ("steps", "sizes"), [(3, [3, 3, 1]), (4, [4, 2, 1]), (50, [6, 1])], ids=lambda value: str(value)
)
def test_data_whose_last_batch_is_smaller(steps: int, sizes: list[int], programs: Programs) -> None:
    """A program runs batches of one shape, and as many as an execution has."""
    expected = reference(len(BATCHES), epochs=2)
    model = build(steps)
    callback = LoopControllerCallback(config(IN_GRAPH))
    model.fit(drawn(), epochs=2, verbose=0, callbacks=[callback])
    assert programs.sizes == 2 * sizes
    assert callback.history.column("late").any()
    _same(callback, model, *expected)


def test_no_more_batches_wait_than_fit_into_memory(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_loops, "_AT_ONCE", 2 * 8 * (4 + 1) * 4)
    expected = reference(len(BATCHES))
    model = build(5)
    callback = LoopControllerCallback(config(IN_GRAPH))
    model.fit(drawn(), verbose=0, callbacks=[callback])
    assert programs.sizes == [2, 2, 1, 1, 1]
    _same(callback, model, *expected)


def test_a_batch_larger_than_that_is_run_alone(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_loops, "_AT_ONCE", 1)
    model, callback = build(3), LoopControllerCallback(config(IN_GRAPH))
    model.fit(drawn(4), verbose=0, callbacks=[callback])
    assert programs.sizes == [1, 1, 1, 1]


def test_without_xla_there_is_no_program(programs: Programs) -> None:
    model, callback = build(3, jit_compile=False), LoopControllerCallback(config(IN_GRAPH))
    model.fit(drawn(), verbose=0, callbacks=[callback])
    assert programs.sizes == []


@pytest.mark.parametrize("jit_compile", [False, True])
def test_no_data_of_the_next_execution_are_drawn(jit_compile: bool) -> None:
    drawn = []

    def batches() -> Iterator[tuple[Any, Any]]:
        for i, batch in enumerate(BATCHES[:6]):
            drawn.append(i)
            yield batch

    spec = tuple(tf.TensorSpec((8, n)) for n in (4, 1))
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    data = tf.data.Dataset.from_generator(batches, output_signature=spec).with_options(options)
    model, callback = build(2, jit_compile=jit_compile), LoopControllerCallback(config(IN_GRAPH))
    seen = []
    look = keras.callbacks.Callback()
    look.on_train_batch_end = lambda batch, logs: seen.append(len(drawn))
    model.fit(data, steps_per_epoch=6, verbose=0, callbacks=[callback, look])
    assert seen == [2, 4, 6]


def test_an_error_in_the_data_leaves_whole_executions() -> None:
    """Of an execution whose batches can't all be drawn no step is trained."""

    def batches() -> Iterator[tuple[Any, Any]]:
        yield from BATCHES[:5]
        raise OSError("the disk is gone")

    spec = tuple(tf.TensorSpec((8, n)) for n in (4, 1))
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    expected = reference(3)
    model = build(3)
    callback = LoopControllerCallback(config(IN_GRAPH))
    with pytest.raises(tf.errors.UnknownError, match="the disk is gone"):
        model.fit(data, verbose=0, callbacks=[callback])
    assert callback.batches == 3
    _same(callback, model, *expected)


def test_what_is_no_tensor_is_stepped_through_one_by_one(programs: Programs) -> None:
    """As the missing weights here are none."""
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).map(lambda x, y: (x, y, None))
    model, callback = build(2), LoopControllerCallback(config(IN_GRAPH))
    model.fit(data, verbose=0, callbacks=[callback])
    assert programs.sizes == []
    assert len(callback.history) == 7


def _same(
    callback: LoopControllerCallback,
    model: keras.Model,
    expected: list[dict[str, Any]],
    weights: list[Any],
) -> None:
    assert len(callback.history) == len(expected)
    for name in expected[0]:
        values = np.array([float(row[name]) for row in expected])
        column = callback.history.column(name).astype(float)
        np.testing.assert_allclose(column, values, rtol=1e-4, atol=1e-6, err_msg=name)
    for ours, theirs in zip(model.weights, weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-5)
