"""What each step does to variables, watched in the graph that runs it.

Every so many steps, a checksum of every watched variable is taken: an integer made of the bits of
all elements, so that a change of any of them shows. If there is something to tell, a flag says so,
which is all that the host reads each time. Steps in between only count.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import key_of, resource
from verify.guard.checksums import Checksums, norms
from verify.guard.clip_bounds import ClipBounds

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
        within: in how many steps what has to move has to have moved.
        ratio: bounds of the norm of an update over that of what it updates; None: unchecked.
        compiled: whether steps are compiled by XLA.
        clipping: the optimizer whose gradients are promised to be clipped, and how; None: not.
        idle: whether a step may have no loss, which it tells as NaN.
    """

    def __init__(
        self,
        strategy: Any,
        watched: Sequence[Watched],
        every: int,
        *,
        within: int = 100,
        ratio: tuple[float, float] | None = None,
        compiled: bool = False,
        clipping: tuple[Any, Any] | None = None,
        idle: bool = False,
    ) -> None:
        self.idle = idle
        self.watched, self.every, self.within = tuple(watched), every, max(within, every)
        self.ratio = ratio
        parts = [strategy.experimental_local_results(resource(one.variable)) for one in watched]
        replicas = [*zip(*parts, strict=True)] if parts else []
        self._replicas = [_Replica(one, self, compiled) for one in replicas]
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

    def status(self) -> tuple[int, bool]:
        """How many steps were done, and whether there may be something to tell."""
        told = [replica.status.numpy() for replica in self._replicas]
        # Whether replicas agree, no replica knows.
        tells = len(told) > 1 or any(flag for _, flag in told)
        if self.clips is not None:
            tells = tells or bool(self.clips.broken.numpy())
        return (int(told[0][0]) if told else 0), tells

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

    def __init__(self, variables: Sequence[Any], monitors: Monitors, compiled: bool) -> None:
        self.variables, self._monitors, self._compiled = variables, monitors, compiled
        watched = monitors.watched
        self._moves = np.asarray([one.moves for one in watched])
        self._trained = np.asarray([one.trained for one in watched])
        self._still = [i for i, one in enumerate(watched) if one.still]
        self._sums = Checksums(variables)
        self._sums_of_still = Checksums([variables[i] for i in self._still])
        with tf.device(variables[0].device):
            # Of no model: nothing that is trained, saved or told.
            self.status = tf.Variable([0, 0], trainable=False, dtype=tf.int64)
            self.infinite_loss = tf.Variable(0, trainable=False, dtype=tf.int64)
            self.table = tf.Variable(tf.zeros([len(variables), 4], tf.float64), trainable=False)
            self.checksums = tf.Variable(self._sums.of(_read(variables)), trainable=False)

    def before(self) -> tuple[Any, Any]:
        """What a step that is looked at finds: checksums, and copies, where they are asked for."""
        sums, copies = None, None
        if self._still:
            still = [self.variables[i] for i in self._still]
            none = tf.zeros([len(still)], tf.int64)
            sums = tf.cond(
                self.is_due(), lambda: self._sums_of_still.of(_read(still)), lambda: none
            )
        if self._monitors.ratio is not None:
            copies = self._copies()
        return sums, copies

    def _copies(self) -> Any:
        if self._compiled:  # XLA keeps what is read
            return _read(self.variables)
        empty = [tf.zeros([0] * v.shape.rank, v.dtype) for v in self.variables]
        # What is merely read is kept by copying all of it whenever it is written.
        return tf.cond(
            self.is_due(), lambda: [tf.identity(v) for v in _read(self.variables)], lambda: empty
        )

    def after(self, before: tuple[Any, Any], loss: Any) -> None:
        """Looks at what a step has done, if it is one to look at."""
        self.look_if_due(lambda step: self._look(step, *before, loss))
        self.status.assign_add([1, 0])

    def look_if_due(self, look: Callable[[Any], object]) -> None:
        """Calls a function of the step's number, if the step is one to look at."""
        step = self.status[0] + 1

        def looked() -> Any:
            look(step)
            return tf.constant(True)

        tf.cond(self.is_due(), looked, lambda: tf.constant(False))

    def is_due(self) -> Any:
        """Whether the step is one to look at."""
        return (self.status[0] + 1) % self._monitors.every == 0

    def _look(self, step: Any, sums_before: Any, copies: Any, loss: Any) -> None:
        now, at = _read(self.variables), tf.cast(step, tf.float64)
        sums, finite = self._sums.of(now), self._sums.are_finite(now)
        moved, written, infinite, ratio = tf.unstack(self.table.read_value(), axis=1)
        moved = tf.where(sums != self.checksums, at, moved)
        infinite = tf.where(self._trained & ~finite & (infinite == 0), at, infinite)
        tells = tf.reduce_any(infinite > 0)
        if self._moves.any():
            late = self._moves & (at - moved >= self._monitors.within)
            tells |= tf.reduce_any(late)
        if sums_before is not None:
            other = tf.gather(sums, self._still) != sums_before
            first = other & (tf.gather(written, self._still) == 0)
            places = tf.constant(self._still)[:, None]
            hit = tf.scatter_nd(places, tf.cast(first, tf.float64), tf.shape(written, tf.int32))
            written += hit * at
            tells |= tf.reduce_any(written > 0)
        if copies is not None:
            ratio = norms(copies, now)
            low, high = self._monitors.ratio or (0.0, 0.0)
            tells |= tf.reduce_any(self._trained & ((ratio < low) | (ratio > high)))
        self.table.assign(tf.stack([moved, written, infinite, ratio], axis=1))
        self.checksums.assign(sums)
        if loss is not None:
            loss = tf.cast(loss, tf.float64)
            is_bad = tf.math.is_inf(loss) if self._monitors.idle else ~tf.math.is_finite(loss)
            bad = tf.reduce_any(is_bad)
            known = self.infinite_loss.read_value()
            self.infinite_loss.assign(tf.where(bad & (known == 0), step, known))
            tells |= bad | (known > 0)
        self.status.assign(tf.stack([step - 1, tf.cast(tells, tf.int64)]))


def _read(variables: Sequence[Any]) -> list[Any]:
    return [variable.read_value() for variable in variables]
