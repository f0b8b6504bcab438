"""Data that are in memory as `fit` begins, and in which order its iterators go through their rows.

`fit` hands over an iterator, which gives one batch at a time, in longer than a small step takes.
Where every batch is known to be rows of tensors, steps take them from there, in the order in which
that iterator would have given them. Nothing is drawn from the iterator then.

What an iterator iterates over, and what a `tf.data.Dataset` is made of, is not public: the
attributes that are read here are tested one by one in tests/loopctl/run/test_data_in_memory.py.
Where a dataset is made of anything else than what is known here, its iterator is drawn from.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]

# Bytes of all batches that are copied to be kept, of those that wait for one program, and of a
# batch: larger ones are better drawn by other threads while a step runs. And rows whose order is
# looked through beforehand.
_KEPT = _STACKED = 2**28
_BATCH = 2**20
_ROWS = 2**24

# Datasets that give what they are given, one that keeps it, and those that give the same whenever
# they are asked: by themselves, or by functions that draw nothing and depend on nothing else.
_PASSING = {"_PrefetchDataset", "_OptionsDataset"}
_CACHE = "CacheDataset"
_FIXED = {
    *_PASSING,
    _CACHE,
    "_RepeatDataset",
    "_BatchDataset",
    "_ParallelBatchDataset",
    "_TakeDataset",
    "_SkipDataset",
    "_ZipDataset",
    "_RangeDataset",
    "_TensorDataset",
    "_TensorSliceDataset",
}
_MAPS = {"_MapDataset", "_ParallelMapDataset"}


class Rows(NamedTuple):
    """Tensors whose rows batches are made of.

    `tensors`: flat, (rows, ...); `spec`: of a batch, as its iterator has it; `sizes`: rows of each
    batch of a pass through the data; `order`: gives the order of the rows to an iterator, (rows,)
    int32, in all its `passes`, -1 for any number.
    """

    tensors: list[Any]
    spec: Any
    sizes: Array
    order: Callable[[], Array]
    passes: int


class Reader:
    """Goes through data in memory as one iterator would.

    `key`: of all data that have batches of the same structure, shapes and types.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows, self._order, self._at = rows, rows.order(), 0
        batches = len(rows.sizes)
        self._all = batches * rows.passes if rows.passes >= 0 else sys.maxsize
        self._starts = np.concatenate([[0], np.cumsum(rows.sizes)])
        ends = np.append(np.flatnonzero(np.diff(rows.sizes)) + 1, batches)
        self._alike = np.repeat(ends, np.diff(ends, prepend=0))  # batches of one size end where
        self.key = str(rows.spec)
        self._bytes = max(1, _bytes_of_row(rows.tensors) * int(rows.sizes[0]))

    def take(self, left: int, count: int) -> tuple[Array, int | None] | None:
        """Rows of the batches that come next, of up to `left`; None at the end.

        Args:
            count: how many steps a program may be for.

        Returns:
            Either the rows of one batch, (size,) int32, and None; or those of many, always as many
            of a size, (batches, size), and how many of them there really are.
        """
        most = min(count, self._all, max(1, _STACKED // self._bytes))
        order = self._ahead(min(left, most))
        if order is None:
            return None
        if most == 1 or order.shape[1] != self.rows.sizes[0]:
            return order[0], None
        # One program for any number of batches: it takes seconds to compile.
        padded = np.zeros((most, order.shape[1]), np.int32)
        padded[: len(order)] = order
        return padded, len(order)

    def move(self, steps: int) -> None:
        """Passes over batches that were trained on."""
        self._at += steps

    def _ahead(self, most: int) -> Array | None:
        """The rows of up to `most` next batches of one size, (batches, size); None at the end."""
        most, batches = min(most, self._all - self._at), len(self.rows.sizes)
        if most <= 0:
            return None
        first = self._at % batches
        last = min(first + most, int(self._alike[first]))
        order = self._order[self._starts[first] : self._starts[last]].reshape(last - first, -1)
        if last - first < most and self._alike[0] == batches:  # the next pass has the same size
            turned = np.roll(self._order.reshape(batches, -1), -first, 0)
            return np.resize(turned, (most, order.shape[1]))
        return order


class DataInMemory:
    """What is in memory of the data of a training."""

    def __init__(self) -> None:
        self.forget()
        self._dataset: Any = None  # what `_rows` are of, as long as anybody else has it
        self._rows: Rows | None = None

    def forget(self) -> None:
        """Lets go of what belongs to one training."""
        self._iterator: Any = None
        self._reader: Reader | None = None

    def reader(self, iterator: Any) -> Reader | None:
        """What goes through the data as `iterator` would, if they are in memory."""
        if iterator is not self._iterator:
            self._iterator = iterator
            rows = self._rows_of(getattr(iterator, "_dataset", None))
            self._reader = None if rows is None else Reader(rows)
        return self._reader

    def _rows_of(self, dataset: Any) -> Rows | None:
        if dataset is None or self._dataset is None or self._dataset() is not dataset:
            self._rows = None if dataset is None else rows_of(dataset)
            self._dataset = None if dataset is None else weakref.ref(dataset, self._drop)
        return self._rows

    def _drop(self, dataset: Any) -> None:
        if dataset is self._dataset:
            self._dataset = self._rows = None


def rows_of(dataset: Any) -> Rows | None:
    """The rows that the batches of a dataset are made of, if these are known to be in memory."""
    if not isinstance(dataset, tf.data.Dataset) or dataset.options().deterministic is False:
        return None
    spec = tf.nest.flatten(dataset.element_spec)
    if tf.config.list_logical_devices("GPU"):  # to which all data would be copied for each step
        return None
    if not spec or not all(isinstance(part, tf.TensorSpec) for part in spec):
        return None
    rows = _of_arrays(dataset) or _of_fixed(dataset)
    if rows is None or _bytes_of_row(rows.tensors) * int(rows.sizes.max()) > _BATCH:
        return None
    return rows


# -- arrays, as Keras makes a dataset of them ------------------------------------------------------


def _of_arrays(dataset: Any) -> Rows | None:
    """Of ``zip(order of rows, tensors, again and again).map(gather)``."""
    mapped = _unwrapped(dataset)
    if not _maps_in_order(mapped) or _kind(mapped._input_dataset) != "_ZipDataset":
        return None
    parts = tf.nest.flatten(mapped._input_dataset._datasets)
    if [_kind(part) for part in parts] != ["_FlatMapDataset", "_RepeatDataset"]:
        return None
    batches, repeated = parts
    if int(repeated._count) != -1 or _kind(repeated._input_dataset) != "_TensorDataset":
        return None
    tensors = repeated._input_dataset._tensors
    places = _gathers(mapped._map_func.function.graph)
    if places is None or len(set(map(_length, tensors))) != 1:
        return None
    sizes = _split(batches, _length(tensors[0]))
    order = _order(batches._input_dataset, _length(tensors[0]))
    if sizes is None or order is None:
        return None
    return Rows([tensors[i] for i in places], dataset.element_spec, sizes, order, 1)


def _gathers(graph: Any) -> list[int] | None:
    """Of which argument each output is some rows: those that the first argument names.

    None if an output is anything else.
    """
    arguments = {tensor.ref(): i for i, tensor in enumerate(graph.inputs)}
    places = []
    for tensor in graph.outputs:
        while tensor.op.type == "Identity":
            tensor = tensor.op.inputs[0]
        op = tensor.op
        if op.type != "GatherV2" or op.get_attr("batch_dims") != 0:
            return None
        values, indices, axis = op.inputs
        where = arguments.get(values.ref(), 0)
        if arguments.get(indices.ref()) != 0 or where == 0 or tf.get_static_value(axis) != 0:
            return None
        places.append(where - 1)
    return places


def _split(batches: Any, length: int) -> Array | None:
    """Sizes of the batches of indices that are one order of all rows, one part after the other.

    None if it is not that what they are: an order is tried.
    """
    if not 0 < length <= _ROWS:
        return None
    tried = np.arange(length, dtype=np.int64)[::-1].copy()
    parts = tf.data.experimental.from_variant(
        tf.nest.flatten(batches._map_func.function(tf.constant(tried)))[0], batches.element_spec
    )
    nothing = np.int64(-1)
    found, sizes = [], []
    for part in parts.padded_batch(4096, [None], nothing).as_numpy_iterator():
        found.append(part[part != nothing])
        sizes.append(np.sum(part != nothing, axis=1))
    if not found or not np.array_equal(np.concatenate(found), tried):
        return None
    return np.concatenate(sizes)


def _order(dataset: Any, length: int) -> Callable[[], Array] | None:
    """What gives the order of all rows for a pass, of ``range(1).map(order)``.

    With a seed, a shuffle begins anew in each iterator: it gives the same order to all of them.
    Without one, it gives another one whenever it is asked.
    """
    mapped = _unwrapped(dataset)
    if _kind(mapped) != "_MapDataset" or _kind(mapped._input_dataset) != "_RangeDataset":
        return None
    spec = dataset.element_spec
    if not isinstance(spec, tf.TensorSpec) or (spec.dtype, spec.shape.rank) != (tf.int64, 1):
        return None
    function = mapped._map_func.function
    drawing = [op for op in function.graph.get_operations() if op.op_def.is_stateful]
    if int(dataset.cardinality()) != 1 or any(op.type != "RandomShuffle" for op in drawing):
        return None
    seeds = [op.get_attr("seed") or op.get_attr("seed2") for op in drawing]
    first = next(iter(dataset)).numpy()
    if not np.array_equal(np.sort(first), np.arange(length)):
        return None
    if all(seeds):
        same = first.astype(np.int32)
        return lambda: same
    if any(seeds):
        return None
    start = next(iter(mapped._input_dataset))
    return lambda: tf.nest.flatten(function(start))[0].numpy().astype(np.int32)


# -- datasets that always give the same ------------------------------------------------------------


def _of_fixed(dataset: Any) -> Rows | None:
    """Of what does not change from pass to pass: a copy of all batches, if they are few enough."""
    passes, within = 1, _unwrapped(dataset)
    while _kind(within) == "_RepeatDataset":
        count = int(within._count)
        passes = -1 if count < 0 or passes < 0 else passes * count
        within = _unwrapped(within._input_dataset)
    count = int(within.cardinality())
    if not passes or not _is_fixed(within) or not 0 < count <= _ROWS:
        return None
    batches: list[list[Any]] = []
    for batch in within:
        parts = tf.nest.flatten(batch)
        if not batches and sum(part.numpy().nbytes for part in parts) * count > _KEPT:
            return None
        lengths, before = set(map(_length, parts)), batches[0] if batches else parts
        alike = (a.shape[1:] == b.shape[1:] for a, b in zip(parts, before, strict=True))
        if len(lengths) != 1 or 0 in lengths or not all(alike):
            return None
        batches.append(parts)
    sizes = np.array([_length(parts[0]) for parts in batches])
    tensors = [tf.concat(parts, 0) for parts in zip(*batches, strict=True)]
    order = np.arange(sizes.sum(), dtype=np.int32)
    return Rows(tensors, dataset.element_spec, sizes, lambda: order, passes)


def _is_fixed(dataset: Any, cached: bool = False) -> bool:
    """Whether every pass through a dataset gives the same, as far as a cache is filled once."""
    kind = _kind(dataset)
    if kind == _CACHE:
        if tf.get_static_value(dataset._filename) != b"":  # which others may be writing
            return False
        cached = True
    elif kind in _MAPS:
        if not cached or dataset._map_func.function.function_def.signature.is_stateful:
            return False
    elif kind not in _FIXED:
        return False
    return _keeps_order(dataset) and all(_is_fixed(part, cached) for part in dataset._inputs())


def _maps_in_order(dataset: Any) -> bool:
    return _kind(dataset) in _MAPS and _keeps_order(dataset)


def _keeps_order(dataset: Any) -> bool:
    return getattr(dataset, "_deterministic", "default") in ("default", "true")


def _bytes_of_row(tensors: list[Any]) -> int:
    return sum(int(np.prod(part.shape[1:])) * part.dtype.size for part in tensors)


def _kind(dataset: Any) -> str:
    return type(dataset).__name__


def _unwrapped(dataset: Any) -> Any:
    while _kind(dataset) in _PASSING:
        dataset = dataset._input_dataset
    return dataset


def _length(tensor: Any) -> int:
    return int(tensor.shape[0]) if tensor.shape.rank else 0
