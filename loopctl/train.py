"""The train function: what ``fit`` calls once per execution, of one train step or of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Record = Callable[[tuple[str, ...], Any, frozenset[str]], None]
_ITERATORS = (tf.data.Iterator, tf.distribute.DistributedIterator)


class TrainFunction:
    """Runs the steps of one execution and hands their values to `record`, fetched at once.

    Args:
        model: decides how steps are run: eagerly, compiled, how many in one execution.
        main_step: ``data -> (values, logs)``, both scalars by name.
        record: takes names, values (steps, names) as float64, and which names hold booleans.

    Attributes:
        batch: specs of the batches that were seen, None before the first.
    """

    def __init__(self, model: keras.Model, main_step: Callable[[Any], Any], record: Record) -> None:
        self._main_step, self._record = main_step, record
        self.batch: Any = None
        self._names: tuple[str, ...] = ()
        self._states: frozenset[str] = frozenset()
        self._count = int(model.steps_per_execution)
        self._manner = _manner(model)
        self._one, self._several = self._one_step, self._in_graph
        if not model.run_eagerly:
            options = {"reduce_retracing": True, "autograph": False}
            self._one = tf.function(self._one_step, jit_compile=model.jit_compile, **options)
            self._several = tf.function(self._in_graph, **options)

    def serves(self, model: keras.Model) -> bool:
        """Whether `model` still wants its steps run in the way this was made for."""
        return self._manner == _manner(model)

    def __call__(self, iterator: Any) -> Mapping[str, Any]:
        """The logs of the last step.

        Raises:
            StopIteration: there is no more data.
        """
        logs: Mapping[str, Any]
        if isinstance(iterator, _ITERATORS):
            try:
                values, logs, count = self._several(iterator)
            except tf.errors.OutOfRangeError:
                raise StopIteration from None
            rows = np.asarray(values)[: int(count)] if self._count > 1 else np.asarray(values)
            self._record(self._names, rows, self._states)
            return logs
        ran = False
        for _, data in zip(range(self._count), iterator, strict=False):
            values, logs = self._one(data)
            self._record(self._names, np.asarray(values)[None], self._states)
            ran = True
        if not ran:
            raise StopIteration
        return logs

    def _one_step(self, data: Any) -> tuple[Any, Mapping[str, Any]]:
        """All values of a step in one tensor, (names,) float64, so that they travel together."""
        data = _without_optionals(data)
        self.batch = tf.nest.map_structure(_spec, data)
        values, logs = self._main_step(data)
        self._names = tuple(values)
        self._states = frozenset(n for n, value in values.items() if value.dtype == tf.bool)
        return tf.stack([tf.cast(value, tf.float64) for value in values.values()]), logs

    def _in_graph(self, iterator: Any) -> tuple[Any, Mapping[str, Any], Any]:
        """Up to `count` steps: values (count, names), the last logs, the number of steps."""
        values, logs = self._one(iterator.get_next())
        if self._count == 1:
            return values[None], logs, tf.constant(1)
        stack = tf.TensorArray(values.dtype, self._count, element_shape=values.shape)

        def body(done: Any, batch: Any, stack: Any, logs: Any) -> Any:
            values, logs = self._one(batch.get_value())
            done += 1
            # The data of the next execution must not be drawn in this one.
            batch = tf.cond(done < self._count, iterator.get_next_as_optional, lambda: batch)
            return done, batch, stack.write(done - 1, values), logs

        done, _, stack, logs = tf.while_loop(
            lambda done, batch, *_: tf.logical_and(done < self._count, batch.has_value()),
            body,
            (
                tf.constant(1),
                iterator.get_next_as_optional(),
                stack.write(0, values),
                logs,
            ),
            parallel_iterations=1,
        )
        return stack.stack(), logs, done


def _manner(model: keras.Model) -> tuple[Any, ...]:
    return model.run_eagerly, model.jit_compile, int(model.steps_per_execution)


def _without_optionals(data: Any) -> Any:
    """Keras' data adapters mark a missing element of a batch by an Optional; models want None."""
    return keras.tree.map_structure(
        lambda part: None if isinstance(part, tf.experimental.Optional) else part, data
    )


def _spec(part: Any) -> Any:
    return tf.TensorSpec.from_tensor(part) if tf.is_tensor(part) else None
