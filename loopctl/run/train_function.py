"""The train function: what ``fit`` calls once per execution, of one train step or of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl.run.execution_loops import AtOnce, one_by_one, takes

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

    Attributes:
        batch: specs of the batches that were seen, None before the first.
    """

    def __init__(
        self,
        model: keras.Model,
        main_step: Callable[[Any], Mapping[str, Any]],
        logs: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        record: Record,
        prepare: Callable[[Any], object],
    ) -> None:
        self._prepare = prepare
        self._main_step, self._logs, self._record = main_step, logs, record
        self.batch: Any = None
        self._model = model
        self._names: tuple[str, ...] = ()
        self._states: frozenset[str] = frozenset()
        self._count = int(model.steps_per_execution)
        self._manner = _manner(model)
        self._one, self._several = self._one_step, self._in_graph
        if not model.run_eagerly:
            options = {"reduce_retracing": True, "autograph": False}
            self._one = tf.function(self._one_step, jit_compile=model.jit_compile, **options)
            self._several = tf.function(self._in_graph, **options)
        program = model.jit_compile and not model.run_eagerly and self._count > 1
        self._at_once = AtOnce(self._one, self._count) if program else None

    def serves(self, model: keras.Model) -> bool:
        """Whether `model` still wants its steps run in the way this was made for."""
        return self._manner == _manner(model)

    def __call__(self, iterator: Any) -> Mapping[str, Any]:
        """The logs of the last step.

        Raises:
            StopIteration: there is no more data.
        """
        if isinstance(iterator, _ITERATORS):
            try:
                values, logs, count = self._several(iterator)
            except tf.errors.OutOfRangeError:
                raise StopIteration from None
            self._record(self._names, np.asarray(values)[: int(count)], self._states)
            return logs
        values = [self._one(data) for _, data in zip(range(self._count), iterator, strict=False)]
        if not values:
            raise StopIteration
        self._record(self._names, np.asarray(values), self._states)
        return self._report(values[-1])

    def _one_step(self, data: Any) -> Any:
        """All values of a step in one tensor, (names,) float64, so that they travel together."""
        data = _without_optionals(data)
        one = self._model.distribute_strategy.num_replicas_in_sync == 1
        if one and self.batch is None and self._model.run_eagerly:
            self._prepare(data)
        self.batch = tf.nest.map_structure(_spec, data)
        values = self._main_step(data)
        self._names = tuple(values)
        # Before a metric has measured, Keras 3.8 gives its result as a plain number.
        values = {name: tf.convert_to_tensor(value) for name, value in values.items()}
        self._states = frozenset(n for n, value in values.items() if value.dtype == tf.bool)
        return tf.stack([tf.cast(value, tf.float64) for value in values.values()])

    def _report(self, row: Any) -> Mapping[str, Any]:
        """Logs as float32 scalars: control states too, of which progress bars take means."""
        values = tf.unstack(tf.cast(row, tf.float32), len(self._names))
        return self._logs(dict(zip(self._names, values, strict=True)))

    def _in_graph(self, iterator: Any) -> tuple[Any, Mapping[str, Any], Any]:
        """Up to `count` steps: values (count, names), the last logs, the number of steps."""
        if self._at_once and takes(iterator):
            rows, done = self._at_once(iterator)
        else:
            rows, done = one_by_one(self._one, iterator, self._count)
        return rows, self._report(rows[done - 1]), done


def build_metrics(model: keras.Model, batch: Any) -> None:
    """Makes the variables of the metrics, from a batch that none of them is to measure."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    with model.distribute_strategy.scope(), keras.StatelessScope():
        model.compute_metrics(x, y, model(x), sample_weight)


def _manner(model: keras.Model) -> tuple[Any, ...]:
    return model.run_eagerly, model.jit_compile, int(model.steps_per_execution)


def _without_optionals(data: Any) -> Any:
    """Keras' data adapters mark a missing element of a batch by an Optional; models want None."""
    return keras.tree.map_structure(
        lambda part: None if isinstance(part, tf.experimental.Optional) else part, data
    )


def _spec(part: Any) -> Any:
    if isinstance(part, tf.RaggedTensor | tf.SparseTensor):
        return tf.type_spec_from_value(part)
    return tf.TensorSpec.from_tensor(part) if tf.is_tensor(part) else None
