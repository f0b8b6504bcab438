"""Data in memory come in the order, and in the batches, in which an iterator gives them."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl.run import data_in_memory
from loopctl.run.data_in_memory import DataInMemory, Reader

X = np.arange(26.0, dtype="float32").reshape(13, 2)
Y = np.arange(13)
WEIGHTS = np.linspace(0.0, 1.0, 13, dtype="float32")


def slices(*arrays: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays[0] if len(arrays) == 1 else arrays or (X, Y))


class Seen(keras.callbacks.Callback):
    """Keeps the dataset whose iterators a plain `fit` hands to its train function."""

    dataset: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        run = self.model.train_function

        def noted(iterator: Any) -> Any:
            self.dataset = iterator._dataset
            return run(iterator)

        self.model.train_function = noted


def of_fit(x: Any = X, y: Any = Y, **settings: Any) -> Any:
    """The dataset that Keras makes of what `fit` is given."""
    inputs = keras.tree.map_structure(lambda part: keras.Input(part.shape[1:]), x)
    flat = [keras.layers.Flatten()(part) for part in keras.tree.flatten(inputs)]
    outputs = keras.layers.Dense(1)(flat[0] if len(flat) == 1 else keras.layers.concatenate(flat))
    model, seen = keras.Model(inputs, outputs), Seen()
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(x, y, verbose=0, callbacks=[seen], **settings)
    return seen.dataset


def all_of(reader: Reader, count: int = 1) -> list[list[Any]]:
    """The batches that are left, as steps in executions of `count` train on them."""
    orders: list[Any] = []
    while (taken := reader.take(count, count)) is not None:
        order, number = taken
        orders += [order] if number is None else list(order[:number])
        reader.move(1 if number is None else number)
    return [[part.numpy()[order] for part in reader.rows.tensors] for order in orders]


def assert_same(found: list[list[Any]], iterator: Any) -> None:
    wanted = [[part.numpy() for part in tf.nest.flatten(batch)] for batch in iterator]
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


ARRAYS: dict[str, dict[str, Any]] = {
    "shuffled": {"batch_size": 4},
    "in order": {"batch_size": 4, "shuffle": False},
    "one batch": {"batch_size": 50},
    "no remainder": {"batch_size": 13},
    "of ones": {"batch_size": 1},
    "by steps": {"steps_per_epoch": 3},
    "sample weights": {"batch_size": 5, "sample_weight": WEIGHTS},
    "class weights": {"batch_size": 5, "class_weight": {3: 2.0}},
    "split": {"batch_size": 4, "validation_split": 0.3},
    "several inputs": {"x": {"a": X, "b": X[:, :1]}, "batch_size": 4},
    "tensors": {"x": tf.constant(X), "y": tf.constant(Y), "batch_size": 4},
    "integers, halves": {"x": X.astype("float16"), "y": Y.astype("uint8"), "batch_size": 4},
}


@pytest.mark.parametrize("settings", ARRAYS.values(), ids=ARRAYS)
def test_arrays(settings: dict[str, Any]) -> None:
    """With a seed, Keras shuffles each epoch alike, and so do we."""
    keras.utils.set_random_seed(7)
    dataset, data = of_fit(**settings), DataInMemory()
    for count in (1, 3, 100):
        iterator = iter(dataset)
        reader = data.reader(iterator)
        assert reader is not None
        assert_same(all_of(reader, count), iterator)


def test_arrays_without_a_seed_are_shuffled_anew_each_time() -> None:
    tf.random.set_seed(None)
    x, data, orders = np.arange(600.0)[:, None], DataInMemory(), []
    dataset = of_fit(x, np.arange(600), batch_size=100)
    for _ in range(3):
        reader = data.reader(iter(dataset))
        assert reader is not None
        order = np.concatenate([targets for _, targets in all_of(reader)])
        np.testing.assert_array_equal(np.sort(order), np.arange(600))
        orders.append(order)
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(orders))


FIXED: dict[str, Callable[[], tf.data.Dataset]] = {
    "slices": lambda: slices().batch(4),
    "no remainder": lambda: slices().batch(4, drop_remainder=True),
    "kept": lambda: slices().batch(4).cache(),
    "again": lambda: slices().batch(4).cache().repeat(3).prefetch(2),
    "of one size again": lambda: slices().batch(6, drop_remainder=True).repeat(4).repeat(2),
    "one batch again": lambda: tf.data.Dataset.from_tensors((X, Y)).cache().repeat(7),
    "made and kept": lambda: slices().map(lambda x, y: (x + 1, y)).batch(4).cache(),
    "made by many": lambda: slices().map(_doubled, num_parallel_calls=2).cache().batch(4),
    "a part": lambda: slices().skip(2).take(9).batch(4),
    "pairs": lambda: tf.data.Dataset.zip((slices(X), slices(Y))).batch(4, num_parallel_calls=2),
    "repeated within": lambda: slices().repeat(2).batch(5),
}


def _doubled(x: Any, y: Any) -> Any:
    return 2 * x, y


@pytest.mark.parametrize("made", FIXED.values(), ids=FIXED)
@pytest.mark.parametrize("count", [1, 3, 100])
def test_what_is_fixed(made: Callable[[], tf.data.Dataset], count: int) -> None:
    dataset, data = made(), DataInMemory()
    for _ in range(2):
        iterator = iter(dataset)
        reader = data.reader(iterator)
        assert reader is not None
        assert_same(all_of(reader, count), iterator)


def test_without_end() -> None:
    for dataset in (slices().batch(4).repeat(), slices().batch(5, drop_remainder=True).repeat()):
        iterator = iter(dataset)
        reader = DataInMemory().reader(iterator)
        assert reader is not None
        for _ in range(9):
            taken = reader.take(1, 1)
            assert taken is not None
            x = reader.rows.tensors[0].numpy()[taken[0]]
            np.testing.assert_array_equal(x, next(iterator)[0])
            reader.move(1)


# -- what is drawn from its iterator, as ever ------------------------------------------------------


def _random(x: Any, y: Any) -> Any:
    return x + tf.random.normal(()), y


def _in_python(x: Any, y: Any) -> Any:
    return tf.numpy_function(lambda value: value, [x], tf.float32), y


def _reading(variable: tf.Variable) -> Callable[..., Any]:
    return lambda x, y: (x + variable, y)


def _unordered() -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = False
    return slices().batch(4).cache().with_options(options)


DRAWN: dict[str, Callable[[], Any]] = {
    "shuffled": lambda: slices().shuffle(13).batch(4),
    "shuffled, then kept": lambda: slices().shuffle(13).batch(4).cache(),
    "kept, then shuffled": lambda: slices().cache().shuffle(13).batch(4),
    "made each time": lambda: slices().batch(4).map(_doubled),
    "random": lambda: slices().map(_random).batch(4).cache(),
    "in Python": lambda: slices().map(_in_python).batch(4).cache(),
    "of a variable": lambda: slices().map(_reading(tf.Variable(1.0))).batch(4).cache(),
    "in any order": _unordered,
    "made in any order": lambda: (
        slices().map(_doubled, num_parallel_calls=2, deterministic=False).batch(4).cache()
    ),
    "of any length": lambda: slices().batch(4).filter(lambda x, y: x[0, 0] > -1).cache(),
    "ragged": lambda: slices(tf.ragged.constant([[1.0], [2.0, 3.0]])).batch(2).cache(),
    "of other lengths": lambda: slices().padded_batch(4, ((3,), ())).cache(),
    "single numbers": lambda: tf.data.Dataset.range(9),
    "by batch": lambda: of_fit(batch_size=4, shuffle="batch"),
    "generated": lambda: tf.data.Dataset.from_generator(
        lambda: iter([(X, Y)]), output_signature=(tf.TensorSpec((None, 2)), tf.TensorSpec((None,)))
    ),
    "gathered otherwise": lambda: _gathered(lambda rows, data: tf.gather(data, rows) + 1),
    "gathered from rows": lambda: _gathered(lambda rows, data: tf.gather(data, rows, axis=1)),
    "in an order of its own": lambda: _gathered(tf.gather, lambda rows: rows // 2),
    "not in order": lambda: _gathered(lambda rows, data: tf.gather(data, rows), sort=True),
}


def _gathered(
    gather: Callable[..., Any], order: Callable[[Any], Any] = tf.random.shuffle, sort: bool = False
) -> tf.data.Dataset:
    """What is put together as Keras does, but for one thing."""

    def batches(rows: Any) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(tf.sort(rows) if sort else rows).batch(4)

    rows = tf.data.Dataset.range(1).map(lambda _: order(tf.range(13, dtype=tf.int64)))
    square = tf.reshape(tf.range(169.0), (13, 13))
    data = tf.data.Dataset.from_tensors(square).repeat()
    called = (lambda r, d: tf.gather(d, r)) if gather is tf.gather else gather
    return tf.data.Dataset.zip((rows.flat_map(batches), data)).map(called)


@pytest.mark.parametrize("made", DRAWN.values(), ids=DRAWN)
def test_what_may_be_otherwise_each_time(made: Callable[[], Any]) -> None:
    assert DataInMemory().reader(iter(made())) is None


def test_the_twin_of_what_is_gathered_otherwise() -> None:
    """What Keras does is told by what is done, not by who has done it."""
    keras.utils.set_random_seed(1)
    iterator = iter(_gathered(tf.gather))
    reader = DataInMemory().reader(iterator)
    assert reader is not None
    assert_same(all_of(reader), iterator)


def test_a_cache_in_a_file(tmp_path: Path) -> None:
    """Others may be writing it."""
    assert DataInMemory().reader(iter(slices().batch(4).cache(str(tmp_path / "cache")))) is None


@pytest.mark.parametrize("limit", ["_KEPT", "_BATCH", "_ROWS"])
def test_what_is_too_large(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_in_memory, limit, 2)
    assert DataInMemory().reader(iter(slices().batch(4))) is None
    small = {"_BATCH", "_ROWS"}  # arrays are there anyway
    assert (DataInMemory().reader(iter(of_fit(batch_size=4))) is None) is (limit in small)


def test_no_more_batches_wait_than_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_in_memory, "_STACKED", 2 * 4 * (2 * 4 + 8))
    iterator = iter(slices().batch(4))
    reader = DataInMemory().reader(iterator)
    assert reader is not None
    taken = reader.take(3, 3)
    assert taken is not None
    assert (taken[0].shape, taken[1]) == ((2, 4), 2)
    assert_same(all_of(reader, 3), iterator)


# -- what is private -------------------------------------------------------------------------------


def test_what_is_read_of_tensorflow_is_there() -> None:
    """Without it every fit would draw from iterators, and be slower, with no other sign."""
    dataset = slices().map(_doubled).cache().repeat(2)
    assert iter(dataset)._dataset is dataset
    assert int(dataset._count) == 2
    assert tf.get_static_value(dataset._input_dataset._filename) == b""
    mapped = dataset._input_dataset._input_dataset
    assert not mapped._map_func.function.function_def.signature.is_stateful
    assert slices().map(_random)._map_func.function.function_def.signature.is_stateful
    assert [type(part) for part in mapped._inputs()] == [type(slices())]
    assert len(tf.data.Dataset.from_tensors((X, Y))._tensors) == 2
    assert len(tf.data.Dataset.zip((dataset, dataset))._datasets) == 2


def test_nothing_is_kept_for_longer_than_the_data() -> None:
    dataset, data = slices().batch(4), DataInMemory()
    reader = data.reader(iter(dataset))
    assert reader is not None
    rows = weakref.ref(reader.rows.tensors[0])
    data.forget()
    assert data.reader(iter(dataset)) is not reader
    data.forget()
    del dataset, reader
    gc.collect()
    assert data._rows is None
    assert rows() is None
