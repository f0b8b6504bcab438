"""What each step does to variables, watched in the graph that runs it.

Every so many steps, before and after a step, a checksum of every watched variable is taken: an
integer made of the bits of all elements, so that a change of any of them shows. The host reads a
small table. Steps in between only count.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import key_of, resource
from verify.guard.clip_bounds import ClipBounds

_SMALL = 4096  # elements; what is smaller is put together, since each op costs more than they do
_MOVED, _WRITTEN, _INFINITE, _RATIO = range(4)  # columns


@dataclasses.dataclass(frozen=True)
class Watched:
    """A variable that is watched.

    `moves`: steps have to change it; `still`: the keyword that says that none may, "" for none.
    """

    path: str
    variable: Any
    moves: bool = False
    still: str = ""
    trained: bool = False


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was seen of one variable on one replica; steps count from 1, 0 is never.

    `moved`: the last step up to which it had changed since it was looked at before; `written`: the
    first that wrote it, of those that no step may write; `infinite`: the first after which some of
    it was not finite; `ratio`: the norm of the last update that was looked at over that of the
    variable, NaN where that is not asked for, or the variable is 0; `checksum`: of its bits.
    """

    moved: int
    written: int
    infinite: int
    ratio: float
    checksum: int


class Monitors:
    """Watches the steps of one model.

    Args:
        strategy: that the model is trained under.
        watched: the variables.
        every: look at every so many steps.
        ratios: whether to compare updates with what they update, for which a copy is made.
        compiled: whether steps are compiled by XLA.
        clipping: the optimizer whose gradients are promised to be clipped, and how; None: not.
    """

    def __init__(
        self,
        strategy: Any,
        watched: Sequence[Watched],
        every: int,
        *,
        ratios: bool = False,
        compiled: bool = False,
        clipping: tuple[Any, Any] | None = None,
    ) -> None:
        self.watched, self.every = tuple(watched), every
        parts = [strategy.experimental_local_results(resource(one.variable)) for one in watched]
        replicas = [*zip(*parts, strict=True)] if parts else []
        self._replicas = [_Replica(one, self, ratios, compiled) for one in replicas]
        self.clips: ClipBounds | None = None
        if clipping is not None and replicas:
            self.clips = ClipBounds(*clipping, replicas[0])

    def around(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A step that does the same, watched: on its replica, or on all where it is of all."""

        @functools.wraps(step)
        def watched(data: Any) -> Any:
            own = self._running()
            before = [replica.before() for replica in own]
            first = self._replicas[0]
            if self.clips is None or first not in own:
                made = step(data)
            else:
                with self.clips.looking(first.is_due):
                    made = step(data)
                first.look_if_due(self.clips.look)
            loss = made.get("loss") if isinstance(made, Mapping) else None
            for replica, known in zip(own, before, strict=True):
                replica.after(known, loss)
            return made

        return watched

    def _running(self) -> list[_Replica]:
        """The replica that runs this code; all, where they are told what to run."""
        inside = tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()
        if len(self._replicas) <= 1 or not inside:
            return self._replicas
        # There, a variable is the component of the replica.
        here = key_of(self.watched[0].variable)
        return [one for one in self._replicas if key_of(one.variables[0]) == here]

    @property
    def steps(self) -> int:
        """How many steps were done."""
        return int(self._replicas[0].count.numpy()) if self._replicas else 0

    @property
    def infinite_loss(self) -> int:
        """The first step that was looked at and had a loss that is not finite; 0 for none."""
        found = [step for one in self._replicas if (step := int(one.infinite_loss.numpy()))]
        return min(found, default=0)

    def seen(self) -> list[list[Seen]]:
        """Per replica, what was seen of each variable."""
        found = []
        for replica in self._replicas:
            table, checksums = replica.table.numpy(), replica.checksums.numpy()
            found.append(
                [
                    Seen(int(r[_MOVED]), int(r[_WRITTEN]), int(r[_INFINITE]), float(r[_RATIO]), s)
                    for r, s in zip(table, checksums.tolist(), strict=True)
                ]
            )
        return found


class _Replica:
    """The monitors of one replica."""

    def __init__(
        self, variables: Sequence[Any], monitors: Monitors, ratios: bool, compiled: bool
    ) -> None:
        self.variables, self.every = variables, monitors.every
        self._ratios, self._compiled = ratios, compiled
        sizes = [int(np.prod(variable.shape)) for variable in variables]
        floats = [variable.dtype.is_floating for variable in variables]
        # What is put together has to be of one dtype.
        self._small = [
            i
            for i, (size, variable) in enumerate(zip(sizes, variables, strict=True))
            if size <= _SMALL and variable.dtype == tf.float32
        ]
        small = [sizes[i] for i in self._small]
        self._ids = np.repeat(np.arange(len(small)), small).astype(np.int32)
        self._odd = np.concatenate([_odd(size) for size in small] or [_odd(0)])
        self._large = [i for i in range(len(variables)) if i not in {*self._small}]
        order = [*self._small, *self._large]
        self._order = np.argsort(order)
        self._still = np.asarray([bool(one.still) for one in monitors.watched])
        self._trained = np.asarray([one.trained for one in monitors.watched]) & np.asarray(floats)
        count = len(variables)
        with tf.device(variables[0].device):
            # Of no model: nothing that is trained, saved or told.
            self.count = tf.Variable(0, trainable=False, dtype=tf.int64)
            self.infinite_loss = tf.Variable(0, trainable=False, dtype=tf.int64)
            self.table = tf.Variable(tf.zeros([count, 4], tf.float64), trainable=False)
            self.checksums = tf.Variable(self._sums(self._values()), trainable=False)

    def before(self) -> Any:
        """What a step that is looked at finds."""
        if not self._ratios:
            nothing = tf.zeros([len(self.variables)], tf.int64)
            return tf.cond(self.is_due(), lambda: self._sums(self._values()), lambda: nothing)
        if self._compiled:  # which keeps what is read
            return [variable.read_value() for variable in self.variables]
        empty = [tf.zeros([0] * v.shape.rank, v.dtype) for v in self.variables]
        # A copy: what is merely read is kept by copying all of it when it is written.
        return tf.cond(
            self.is_due(), lambda: [tf.identity(v) for v in self._values()], lambda: empty
        )

    def after(self, before: Any, loss: Any) -> None:
        """Looks at what a step has done, if it is one to look at."""
        self.look_if_due(lambda step: self._look(step, before, loss))
        self.count.assign_add(1)

    def look_if_due(self, look: Callable[[Any], object]) -> None:
        """Calls a function of the step's number, if the step is one to look at."""
        step = self.count + 1

        def looked() -> Any:
            look(step)
            return tf.constant(True)

        tf.cond(self.is_due(), looked, lambda: tf.constant(False))

    def is_due(self) -> Any:
        """Whether the step is one to look at."""
        return (self.count + 1) % self.every == 0

    def _values(self) -> list[Any]:
        return [variable.read_value() for variable in self.variables]

    def _look(self, step: Any, before: Any, loss: Any) -> None:
        now = self._values()
        sums = self._sums(now)
        found = self._sums(before) if self._ratios else before
        table = self.table.read_value()
        moved = tf.where(sums != self.checksums, tf.cast(step, tf.float64), table[:, _MOVED])
        written = self._first(self._still & (sums != found), table[:, _WRITTEN], step)
        infinite = self._first(self._trained & ~self._are_finite(now), table[:, _INFINITE], step)
        ratio = self._ratio(before, now) if self._ratios else table[:, _RATIO] * np.nan
        self.table.assign(tf.stack([moved, written, infinite, ratio], axis=1))
        self.checksums.assign(sums)
        if loss is not None:
            bad = ~tf.reduce_all(tf.math.is_finite(tf.cast(loss, tf.float64)))
            known = self.infinite_loss.read_value()
            self.infinite_loss.assign(tf.where(bad & (known == 0), step, known))

    def _first(self, now: Any, known: Any, step: Any) -> Any:
        return tf.where(now & (known == 0), tf.cast(step, tf.float64), known)

    # -- of all variables at once ------------------------------------------------------------------

    def _sums(self, values: Sequence[Any]) -> Any:
        """Checksums, (variables,) int64, that are equal where all bits are."""
        return self._each(values, self._sum_of_small, _sum)

    def _sum_of_small(self, packed: Any) -> Any:
        return self._by_variable(_bits(packed) * self._odd)

    def _are_finite(self, values: Sequence[Any]) -> Any:
        """(variables,) bool."""
        return self._each(values, self._of_small_finite, _finite)

    def _of_small_finite(self, packed: Any) -> Any:
        return self._by_variable(tf.cast(~tf.math.is_finite(packed), tf.int32)) == 0

    def _ratio(self, before: Sequence[Any], now: Sequence[Any]) -> Any:
        """Norms of updates over norms of what they update, (variables,) float64."""
        change = [_wide(a) - _wide(b) for a, b in zip(now, before, strict=True)]
        norms = [
            [tf.reduce_sum(tf.square(value)) for value in values]
            for values in (change, [_wide(b) for b in before])
        ]
        of_change, of_value = (tf.sqrt(tf.stack(one)) for one in norms)
        safe = tf.where(of_value > 0, of_value, tf.ones_like(of_value))
        return tf.where(of_value > 0, of_change / safe, np.nan * tf.ones_like(of_value))

    def _each(
        self, values: Sequence[Any], small: Callable[[Any], Any], large: Callable[[Any], Any]
    ) -> Any:
        found = []
        if self._small:
            packed = tf.concat([tf.reshape(values[i], [-1]) for i in self._small], axis=0)
            found.append(small(packed))
        if self._large:
            found.append(tf.stack([large(values[i]) for i in self._large]))
        return tf.gather(tf.concat(found, axis=0), self._order)

    def _by_variable(self, values: Any) -> Any:
        return tf.math.unsorted_segment_sum(values, self._ids, len(self._small))


def _odd(size: int) -> Any:
    return 2 * np.arange(size, dtype=np.int64) + 1


def _sum(value: Any) -> Any:
    """A checksum of one variable, () int64: what overflows wraps, and no bit of it is lost."""
    flat = tf.reshape(_bits(value), [-1])
    return tf.reduce_sum(flat * (2 * tf.range(tf.size(flat, tf.int64)) + 1))


def _bits(value: Any) -> Any:
    """The bits of numbers, as int64 of the same shape."""
    if value.dtype.is_floating:
        value = tf.bitcast(value, {2: tf.int16, 4: tf.int32, 8: tf.int64}[value.dtype.size])
    return tf.cast(value, tf.int64)


def _finite(value: Any) -> Any:
    if not value.dtype.is_floating:
        return tf.constant(True)
    return tf.reduce_all(tf.math.is_finite(value))


def _wide(value: Any) -> Any:
    return tf.cast(value, tf.float64)
