"""The train function: what ``fit`` calls once per execution, of one train step or of many."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl.run.data_in_memory import Reader
from loopctl.run.execution_loops import AtOnce, one_by_one, over_batches, takes
from loopctl.run.pauses import Pauses
from loopctl.run.programs import Program
from loopctl_shared import MONITOR

Record = Callable[[tuple[str, ...], Any, frozenset[str]], None]
_ITERATORS = (tf.data.Iterator, tf.distribute.DistributedIterator)


class TrainFunction:
    """Runs the steps of one execution and hands their values to `record`, fetched at once.

    Args:
        model: decides how steps are run: eagerly, compiled, how many in one execution.
        main_step: ``data -> values``, scalars by name.
        logs: ``values -> logs``, what is reported of the last step of an execution.
        record: takes names, values (steps, names) as float64, and which names hold booleans.
        prepare: called with the first batch, if steps run eagerly: a step reads all metrics, even
            if no substep has updated them yet.
        pauses: what the host has to do after some steps, for which an execution is interrupted.

    Attributes:
        batch: specs of the batches that were seen, None before the first.
        python: whether Python has run a step, to trace it or eagerly, since this was set to False.
    """

    def __init__(
        self,
        model: keras.Model,
        main_step: Callable[[Any], Mapping[str, Any]],
        logs: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        record: Record,
        prepare: Callable[[Any], object],
        pauses: Pauses,
    ) -> None:
        self._prepare, self._pauses = prepare, pauses
        monitors = _monitors(model)
        main_step = main_step if monitors is None else monitors.around(main_step)
        self._main_step, self._logs, self._record = main_step, logs, record
        self.batch: Any = None
        self._model = model
        self.python = False
        self._names: tuple[str, ...] = ()
        self._logged: tuple[str, ...] = ()  # what logs are of
        self._places: list[int] = []  # of the names in a row
        self._states: frozenset[str] = frozenset()
        self._count = int(model.steps_per_execution)
        self._manner = _manner(model)
        self._one: Any = self._one_step
        self._several: Any = self._in_graph
        if not model.run_eagerly:
            options = {"reduce_retracing": True, "autograph": False}
            self._one = tf.function(self._one_step, jit_compile=model.jit_compile, **options)
            self._several = tf.function(self._in_graph, **options)
            self._on_one = tf.function(self._one_in_memory, autograph=False)
            self._on_many = tf.function(self._many_in_memory, autograph=False)
            self._stepped = tf.function(
                self._steps_on, jit_compile=model.jit_compile, autograph=False
            )
        # The host's turn is between programs.
        program = model.jit_compile and not (model.run_eagerly or pauses) and self._count > 1
        self._at_once = AtOnce(self._one, self._count) if program else None
        self._programs: dict[Any, Program] = {}  # by shapes of data in memory, by functions
        self._concrete: dict[Any, Any] = {}  # functions of the former
        self._spec: Any = None  # of a batch of data in memory
        # That was drawn from last, its handle and what is called with it.
        self._iterator: Any = None
        self._handle: list[Any] = []

    def serves(self, model: keras.Model) -> bool:
        """Whether `model` still wants its steps run in the way this was made for."""
        return self._manner == _manner(model)

    def __call__(self, iterator: Any, reader: Reader | None = None) -> Mapping[str, Any]:
        """The logs of the last step.

        Args:
            iterator: of batches.
            reader: goes through the same data in memory, instead of `iterator`.

        Raises:
            StopIteration: there is no more data.
        """
        if not isinstance(iterator, _ITERATORS):
            data = zip(range(self._count), iterator, strict=False)
            values = [self._one(batch) for _, batch in data]
            if not values:
                raise StopIteration
            self._take(np.asarray(values))
            return self._report(values[-1])
        logs, left = None, self._count
        while left > 0:
            ran = self._drawn(iterator, left) if reader is None else self._from_memory(reader, left)
            if ran is None:
                break
            rows, logs = ran
            paused = self._take(rows)
            # Batches of another size begin a program of their own, of which nobody is to know.
            left = left - len(rows) if paused or reader is not None else 0
            if paused and self._model.stop_training:
                break
        if logs is None:
            raise StopIteration
        return logs

    def _drawn(self, iterator: Any, left: int) -> tuple[Any, Mapping[str, Any]] | None:
        """Values and last logs of up to `left` steps on what an iterator gives; None of nothing."""
        limit = [tf.constant(left)] if self._pauses else []
        try:
            eager = self._model.run_eagerly or tf.config.functions_run_eagerly()
            if eager or not isinstance(iterator, tf.data.Iterator):  # but one among replicas
                return self._of(*self._several(iterator, *limit))
            if self._iterator is None or self._iterator() is not iterator:
                self._iterator = weakref.ref(iterator, self._let_go)
                self._handle = tf.nest.flatten(iterator, expand_composites=True)
                function = self._several.get_concrete_function(iterator, *limit)
                if id(function) not in self._programs:  # which keeps it
                    self._programs[id(function)] = Program(function)
                self._program = self._programs[id(function)]
            call = functools.partial(self._several, iterator, *limit)
            return self._of(*self._program(self._handle + limit, call))
        except tf.errors.OutOfRangeError:
            return None

    def _let_go(self, iterator: Any) -> None:
        if iterator is self._iterator:
            self._iterator, self._handle = None, []

    def _from_memory(self, reader: Reader, left: int) -> tuple[Any, Mapping[str, Any]] | None:
        """The same, on data in memory."""
        taken = reader.take(left, self._count)
        if taken is None:
            return None
        order, count = taken
        rows = reader.rows
        counted = [] if count is None else [tf.constant(count)]
        arguments = [tf.constant(order), *counted, *rows.tensors]
        key = reader.key, order.shape
        if key not in self._programs:
            self._spec = rows.spec
            specs = [tf.TensorSpec(argument.shape, argument.dtype) for argument in arguments]
            # Of any number of rows: a function that is traced anew is compiled anew.
            for i, tensor in enumerate(rows.tensors, len(arguments) - len(rows.tensors)):
                specs[i] = tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)
            traced = self._on_one if count is None else self._on_many
            self._concrete[key] = traced.get_concrete_function(*specs)
            self._programs[key] = Program(self._concrete[key])
        call = functools.partial(self._concrete[key], *arguments)
        found = self._of(*self._programs[key](arguments, call))
        reader.move(len(found[0]))
        return found

    def _of(self, rows: Any, count: Any, *logs: Any) -> tuple[Any, Mapping[str, Any]]:
        """What a program has given, for the host."""
        return rows.numpy()[: int(count)], dict(zip(self._logged, logs, strict=True))

    def _take(self, rows: Any) -> bool:
        """Records steps; whether the host has had something to do after the last of them."""
        names = len(self._names)
        self._record(self._names, rows[:, self._places], self._states)
        due = rows[-1, names:] != 0
        self._pauses.after(due)
        return bool(due.any())

    def _one_step(self, data: Any) -> Any:
        """All values of a step in one tensor, (names,) float64, so that they travel together."""
        self.python = True
        data = without_optionals(data)
        one = self._model.distribute_strategy.num_replicas_in_sync == 1
        if one and self.batch is None and self._model.run_eagerly:
            self._prepare(data)
        self.batch = tf.nest.map_structure(_spec, data)
        values = self._main_step(data)
        self._names = tuple(values)
        # Before a metric has measured, Keras 3.8 gives its result as a plain number.
        values = {name: tf.convert_to_tensor(value) for name, value in values.items()}
        self._states = frozenset(n for n, value in values.items() if value.dtype == tf.bool)
        row, self._places = _row(list(values.values()))
        due = [tf.cast(flag, tf.float64) for flag in self._pauses.due()]
        return tf.concat([row, due], 0) if due else row

    def _report(self, row: Any) -> Mapping[str, Any]:
        """Logs as float32 scalars: control states too, of which progress bars take means."""
        values = tf.unstack(tf.cast(row[: len(self._names)], tf.float32), len(self._names))
        pairs = zip(self._names, self._places, strict=True)
        return self._logs({name: values[place] for name, place in pairs})

    def _one_in_memory(self, order: Any, *tensors: Any) -> tuple[Any, ...]:
        """A step on the rows of tensors that `order` names, (size,): as `_in_graph`."""
        return self._many_in_memory(order, None, *tensors)

    def _many_in_memory(self, order: Any, taken: Any, *tensors: Any) -> tuple[Any, ...]:
        """Steps on the batches whose rows `order` names, (batches, size)."""
        batches = [tf.gather(tensor, order) for tensor in tensors]
        return tuple(self._stepped(tf.nest.pack_sequence_as(self._spec, batches), taken))

    def _steps_on(self, batches: Any, taken: Any) -> tuple[Any, ...]:
        step = self._one.get_concrete_function(self._spec)
        rows, done = over_batches(step, batches, taken, len(self._pauses))
        return self._reported(rows, done)

    def _in_graph(self, iterator: Any, left: Any = None) -> tuple[Any, ...]:
        """Up to `count` steps: values (count, names), the number of steps, the last logs."""
        if self._at_once and takes(iterator):
            rows, done = self._at_once(iterator)
        else:
            rows, done = one_by_one(self._one, iterator, self._count, left, len(self._pauses))
        return self._reported(rows, done)

    def _reported(self, rows: Any, done: Any) -> tuple[Any, ...]:
        # Tensors, as Keras has them: `fit` looks at them more quickly than at numbers.
        logs = self._report(rows[done - 1])
        self._logged = tuple(logs)
        return rows, done, *(tf.cast(value, tf.float32) for value in logs.values())


def _row(values: list[Any]) -> tuple[Any, list[int]]:
    """Scalars as one tensor, (values,) float64, and the place of each: those of a type together.

    They are cast together, since for a small step each op counts.
    """
    types = dict.fromkeys(value.dtype for value in values)
    order = [i for kind in types for i, value in enumerate(values) if value.dtype == kind]
    stacks = [tf.stack([value for value in values if value.dtype == kind]) for kind in types]
    return tf.concat([tf.cast(s, tf.float64) for s in stacks], 0), np.argsort(order).tolist()


def build_metrics(model: keras.Model, batch: Any) -> None:
    """Makes the variables of the metrics, from a batch that none of them is to measure."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    with model.distribute_strategy.scope(), keras.StatelessScope():
        model.compute_metrics(x, y, model(x), sample_weight)


def _manner(model: keras.Model) -> tuple[Any, ...]:
    return model.run_eagerly, model.jit_compile, int(model.steps_per_execution), _monitors(model)


def _monitors(model: keras.Model) -> Any:
    """What watches each step of a model, as `verify.Guard` does; None if nothing does."""
    guard = getattr(model, MONITOR, None)
    return None if guard is None else guard.monitors_of(model)


def without_optionals(data: Any) -> Any:
    """Keras' data adapters mark a missing element of a batch by an Optional; models want None."""
    return keras.tree.map_structure(
        lambda part: None if isinstance(part, tf.experimental.Optional) else part, data
    )


def _spec(part: Any) -> Any:
    if isinstance(part, tf.RaggedTensor | tf.SparseTensor):
        return tf.type_spec_from_value(part)
    return tf.TensorSpec.from_tensor(part) if tf.is_tensor(part) else None
