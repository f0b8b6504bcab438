"""The steps of one execution, as a loop in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Step = Callable[[Any], Any]  # batch -> values, (names,) float64

# Bytes of the batches that wait for one program of XLA.
_AT_ONCE = 2**28


def one_by_one(
    step: Step, iterator: Any, count: int, left: Any = None, pauses: int = 0
) -> tuple[Any, Any]:
    """Up to `count` steps, each after its batch was drawn.

    Args:
        left: do no more steps than that, scalar int32.
        pauses: of the last so many values of a step, one that is not 0 makes it the last.

    Returns:
        Values (count, names) float64, and the number of steps. Rows beyond it hold nothing.

    Raises:
        tf.errors.OutOfRangeError: there is no more data.
    """
    first = iterator.get_next()
    values = step(first)
    if count == 1:
        return values[None], tf.constant(1)
    rows = tf.TensorArray(values.dtype, count, element_shape=values.shape)
    most = tf.constant(count) if left is None else left

    def more(done: Any, values: Any) -> Any:
        if not pauses:
            return done < most
        return tf.logical_and(done < most, tf.reduce_all(values[-pauses:] == 0))

    def body(done: Any, goes_on: Any, batch: Any, rows: Any) -> Any:
        values = step(batch.get_value())
        rows = rows.write(done, values)
        done += 1
        goes_on = more(done, values)
        return done, goes_on, _next(iterator, batch, goes_on), rows

    goes_on = more(tf.constant(1), values)
    second = _next(iterator, tf.experimental.Optional.from_value(first), goes_on)
    done, _, _, rows = tf.while_loop(
        lambda done, goes_on, batch, rows: tf.logical_and(goes_on, batch.has_value()),
        body,
        (tf.constant(1), goes_on, second, rows.write(0, values)),
        parallel_iterations=1,
    )
    return rows.stack(), done


def over_batches(step: Any, batches: Any, taken: Any = None, pauses: int = 0) -> tuple[Any, Any]:
    """Steps on batches that were taken from data in memory before.

    Args:
        step: concrete function, batch -> values.
        batches: one; or with `taken`, a scalar int32, that many of those that are stacked.
        pauses: as of `one_by_one`.

    Returns:
        As `one_by_one`.
    """
    if taken is None:
        return step(batches)[None], tf.constant(1)
    values = step.structured_outputs
    length = tf.nest.flatten(batches)[0].shape[0]
    rows = tf.TensorArray(values.dtype, length, element_shape=values.shape)

    def body(done: Any, goes_on: Any, rows: Any) -> Any:
        values = step(tf.nest.map_structure(lambda part: part[done], batches))
        if pauses:
            goes_on = tf.reduce_all(values[-pauses:] == 0)
        return done + 1, goes_on, rows.write(done, values)

    done, _, rows = tf.while_loop(
        lambda done, goes_on, rows: tf.logical_and(goes_on, done < taken),
        body,
        (tf.constant(0), tf.constant(True), rows),
        parallel_iterations=1,
    )
    return rows.stack(), done


class AtOnce:
    """The same under XLA, in as few programs as can be, which is much faster for small steps.

    A program takes no iterator: batches are drawn before, as many as have one shape and fit into
    `_AT_ONCE` bytes. If one can't be drawn, none of those before it in the execution that wait
    with it is trained on.

    Args:
        step: compiled by XLA, as a `tf.function`.
        count: of steps in an execution.
    """

    def __init__(self, step: Any, count: int) -> None:
        self._step, self._count = step, count
        self._program = tf.function(
            self._run, jit_compile=True, reduce_retracing=True, autograph=False
        )

    def __call__(self, iterator: Any) -> tuple[Any, Any]:
        """As `one_by_one`."""
        first = tf.experimental.Optional.from_value(iterator.get_next())
        values = self._step.get_concrete_function(iterator.element_spec).structured_outputs
        rows = tf.TensorArray(values.dtype, self._count, element_shape=values.shape)

        def body(done: Any, batch: Any, rows: Any) -> Any:
            batches, taken, batch = self._draw(iterator, batch, self._count - done)
            new = self._program(batches, taken)[:taken]
            return done + taken, batch, rows.scatter(tf.range(done, done + taken), new)

        done, _, rows = tf.while_loop(
            lambda done, batch, rows: tf.logical_and(done < self._count, batch.has_value()),
            body,
            (tf.constant(0), first, rows),
            parallel_iterations=1,
        )
        return rows.stack(), done

    def _draw(self, iterator: Any, first: Any, left: Any) -> tuple[Any, Any, Any]:
        """Batches of one shape from `first` on, stacked, how many, and the one after them.

        The stack has rows for `count` batches, or for as many as fit, however many are drawn: XLA
        compiles a program for each length that it sees.
        """
        parts = tf.nest.flatten(first.get_value())
        size = tf.add_n([tf.size(part, tf.int64) * part.dtype.size for part in parts])
        length = tf.cast(
            tf.clip_by_value(_AT_ONCE // tf.maximum(size, 1), 1, self._count), tf.int32
        )
        most = tf.minimum(left, length)
        shapes = [tf.shape(part) for part in parts]

        def alike(batch: Any) -> Any:
            new = tf.nest.flatten(batch.get_value())
            pairs = zip(new, shapes, strict=True)
            return tf.reduce_all([tf.reduce_all(tf.shape(part) == shape) for part, shape in pairs])

        def body(taken: Any, batch: Any, stacks: Any) -> Any:
            new = tf.nest.flatten(batch.get_value())
            stacks = [s.write(taken, part) for s, part in zip(stacks, new, strict=True)]
            taken += 1
            return taken, _next(iterator, batch, taken < left), stacks

        def more(taken: Any, batch: Any, stacks: Any) -> Any:
            goes_on = tf.logical_and(taken < most, batch.has_value())
            if all(part.shape.is_fully_defined() for part in parts):
                return goes_on
            return tf.cond(goes_on, lambda: alike(batch), lambda: False)

        stacks = [tf.TensorArray(p.dtype, length, element_shape=p.shape) for p in parts]
        taken, batch, stacks = tf.while_loop(
            more, body, (tf.constant(0), first, stacks), parallel_iterations=1
        )
        stacked = [stack.stack() for stack in stacks]
        return tf.nest.pack_sequence_as(first.get_value(), stacked), taken, batch

    def _run(self, batches: Any, count: Any) -> Any:
        """Values of the first `count` batches' steps: (length, names)."""

        def batch(i: Any) -> Any:
            return tf.nest.map_structure(lambda part: part[i], batches)

        length = tf.shape(tf.nest.flatten(batches)[0])[0]
        spec = tf.nest.map_structure(lambda p: tf.TensorSpec(p.shape[1:], p.dtype), batches)
        values = self._step.get_concrete_function(spec).structured_outputs
        rows = tf.TensorArray(values.dtype, length, element_shape=values.shape)
        _, rows = tf.while_loop(
            lambda done, rows: done < count,
            lambda done, rows: (done + 1, rows.write(done, self._step(batch(done)))),
            (tf.constant(0), rows),
            parallel_iterations=1,
        )
        return rows.stack()


def takes(iterator: Any) -> bool:
    """Whether `AtOnce` can keep batches of this iterator."""
    return isinstance(iterator, tf.data.Iterator) and all(
        isinstance(part, tf.TensorSpec) and part.shape.rank is not None
        for part in tf.nest.flatten(iterator.element_spec)
    )


def _next(iterator: Any, batch: Any, wanted: Any) -> Any:
    """The next batch, as an Optional, unless none is wanted.

    The data of the next execution must not be drawn in this one.
    """
    return tf.cond(wanted, iterator.get_next_as_optional, lambda: batch)
