"""What each step does to variables, watched in the graph that runs it, or around it.

Every so many steps, a checksum of every watched variable is taken: an integer made of the bits of
all elements, so that a change of any of them shows. What was seen is in one variable, which the
host reads and judges. Steps in between only count, or are run as if nobody watched.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import key_of, resource
from verify.guard.checksums import Checksums, norms, only_whether_finite
from verify.guard.clip_bounds import ClipBounds

_CHECKSUM, _MOVED, _WRITTEN, _INFINITE = range(4)  # rows of what is seen
_NEVER = 2**62  # a step

_STATE = "guard/state"  # among logs, on their way to the host

Before = tuple[Any, Any]
"""Checksums and copies, each None where it is not asked for."""


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
        self._moves = np.asarray([one.moves for one in watched], bool)
        # The loss is looked at like a variable that is trained.
        self._trained = np.asarray([*(one.trained for one in watched), True], bool)
        parts = [strategy.experimental_local_results(resource(one.variable)) for one in watched]
        replicas = [*zip(*parts, strict=True)] if parts else []
        self._replicas = [_Replica(one, self, compiled) for one in replicas]
        self._handed: Any = None  # the state of the only replica, after the last step
        self.clips: ClipBounds | None = None
        if clipping is not None and replicas:
            self.clips = ClipBounds(*clipping, replicas[0])

    # -- in the graph ------------------------------------------------------------------------------

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
            for replica, known in zip(own, before, strict=True):
                replica.after(known, _loss_of(made))
            return {**made, _STATE: first.state.read_value()} if self._hands_over(made) else made

        return watched

    def _hands_over(self, made: Any) -> bool:
        """Whether a step hands what was seen over with its logs: the host reads it at once.

        Else it would read a variable after each step, which takes a tenth of a small one.
        """
        alone = len(self._replicas) == 1 and not self.idle
        return self.every == 1 and alone and isinstance(made, Mapping)

    def taken(self, logs: Any) -> Any:
        """Logs without what was seen, which is kept."""
        if isinstance(logs, Mapping) and _STATE in logs:
            self._handed = logs[_STATE].numpy()
            return {name: value for name, value in logs.items() if name != _STATE}
        return logs

    def _running(self) -> list[_Replica]:
        """The replica that runs this code; all, where they are told what to run."""
        inside = tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()
        if len(self._replicas) <= 1 or not inside:
            return self._replicas
        # There, a variable is the component of the replica.
        here = key_of(self.watched[0].variable)
        return [one for one in self._replicas if key_of(one.variables[0]) == here]

    # -- by the host, around an execution ----------------------------------------------------------

    def begin(self) -> list[Before]:
        """What there is before an execution that is to be looked at."""
        return [replica.found() if replica.asks else (None, None) for replica in self._replicas]

    def end(self, before: list[Before], step: int, made: Any) -> None:
        """Looks at what an execution has done, whose last step had this number."""
        loss = _loss_of(made)
        # As a tensor, lest each number be traced.
        number = tf.constant(step, tf.int64)
        for replica, known in zip(self._replicas, before, strict=True):
            replica.looked(number, known, None if loss is None else tf.convert_to_tensor(loss))

    # -- what was seen -----------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """How many steps were done in the graph."""
        return int(self._replicas[0].steps.numpy()) if self._replicas else 0

    def tells(self, looked: int) -> bool:
        """Whether there may be something to tell, after the last step that was looked at."""
        # Whether replicas agree, no replica knows.
        if len(self._replicas) > 1 or (self.clips is not None and bool(self.clips.broken.numpy())):
            return True
        return any(self._is_odd(replica, looked) for replica in self._replicas)

    def _is_odd(self, replica: _Replica, looked: int) -> bool:
        state = replica.state.numpy() if self._handed is None else self._handed
        odd = bool((state[_INFINITE][self._trained] < _NEVER).any())
        odd |= bool((state[_WRITTEN] < _NEVER).any())
        odd |= bool((looked - state[_MOVED, :-1][self._moves] >= self.within).any())
        if self.ratio is not None:
            ratio, (low, high) = replica.ratio.numpy(), self.ratio
            odd |= bool((self._trained[:-1] & ((ratio < low) | (ratio > high))).any())
        return odd

    @property
    def infinite_loss(self) -> int:
        """The first step that was looked at and had a loss that is not finite; 0 for none."""
        return _step(min((one.state.numpy()[_INFINITE, -1] for one in self._replicas), default=0))

    def seen(self) -> list[list[Seen]]:
        """Per replica, what was seen of each variable."""
        found = []
        for replica in self._replicas:
            ratios = replica.ratio.numpy() if self.ratio is not None else None
            found.append(
                [
                    Seen(
                        int(column[_MOVED]),
                        _step(column[_WRITTEN]),
                        _step(column[_INFINITE]) if one.trained else 0,
                        np.nan if ratios is None else float(ratios[index]),
                        int(column[_CHECKSUM]),
                    )
                    for index, (one, column) in enumerate(
                        zip(self.watched, replica.state.numpy().T, strict=False)
                    )
                ]
            )
        return found


class _Replica:
    """The monitors of one replica.

    Attributes:
        state: int64, (rows, variables and the loss): what was seen of each.
        ratio: float64, (variables,), where that is asked for.
        steps: how many were done in the graph.
    """

    def __init__(self, variables: Sequence[Any], monitors: Monitors, compiled: bool) -> None:
        self.variables, self._monitors, self._compiled = variables, monitors, compiled
        self._still = [i for i, one in enumerate(monitors.watched) if one.still]
        within = compiled and monitors.every == 1  # else a look may be a function of its own
        self._sums = Checksums([*variables, tf.TensorSpec([])], within)
        self._sums_of_still = Checksums([variables[i] for i in self._still], within)
        with tf.device(variables[0].device):
            # Of no model: nothing that is trained, saved or told.
            sums = self._sums.of([*_read(variables), tf.zeros([])])
            never = tf.fill(sums.shape, tf.constant(_NEVER, tf.int64))
            state = tf.stack([sums, tf.zeros_like(sums), never, never])
            self.state = tf.Variable(state, trainable=False)
            ratio = tf.fill([len(variables)], tf.constant(np.nan, tf.float64))
            self.ratio = tf.Variable(ratio, trainable=False)
            self.steps = tf.Variable(0, trainable=False, dtype=tf.int64)
        # Whether there is anything to know of before a step.
        self.asks = bool(self._still) or monitors.ratio is not None
        self.found = tf.function(self._found, autograph=False)
        self.looked = tf.function(self._look, autograph=False, reduce_retracing=True)

    def before(self) -> Before:
        """What a step that is looked at finds."""
        if self._monitors.every == 1:
            return self._found()
        sums, copies = None, None
        if self._still:
            none = tf.zeros([len(self._still)], tf.int64)
            sums = tf.cond(self.is_due(), self._sums_now, lambda: none)
        if self._monitors.ratio is not None:
            copies = self._copies_if_due()
        return sums, copies

    def _found(self) -> Before:
        sums = self._sums_now() if self._still else None
        return sums, (None if self._monitors.ratio is None else self._copies())

    def _sums_now(self) -> Any:
        return self._sums_of_still.of(_read([self.variables[i] for i in self._still]))

    def _copies(self) -> list[Any]:
        return [tf.identity(value) for value in _read(self.variables)]

    def _copies_if_due(self) -> Any:
        if self._compiled:  # XLA keeps what is read
            return _read(self.variables)
        empty = [tf.zeros([0] * v.shape.rank, v.dtype) for v in self.variables]
        # What is merely read is kept by copying all of it whenever it is written.
        return tf.cond(self.is_due(), self._copies, lambda: empty)

    def after(self, before: Before, loss: Any) -> None:
        """Counts a step, and looks at what it has done, if it is one to look at."""
        self.look_if_due(lambda step: self._look(step, before, loss))
        self.steps.assign_add(1)

    def look_if_due(self, look: Callable[[Any], object]) -> None:
        """Calls a function of the step's number, if the step is one to look at."""
        step = self.steps + 1
        if self._monitors.every == 1:
            look(step)
            return

        def looked() -> Any:
            look(step)
            return tf.constant(True)

        tf.cond(self.is_due(), looked, lambda: tf.constant(False))

    def is_due(self) -> Any:
        """Whether the step is one to look at."""
        return (self.steps + 1) % self._monitors.every == 0

    def _look(self, step: Any, before: Before, loss: Any) -> None:
        now, (sums_before, copies) = _read(self.variables), before
        if loss is None:
            loss = tf.zeros([])
        loss = only_whether_finite(loss, ignore_nan=self._monitors.idle)
        sums, finite = self._sums.and_finite([*now, loss])
        known, moved, written, infinite = tf.unstack(self.state.read_value())
        moved = tf.where(sums != known, step, moved)
        never = tf.constant(_NEVER, tf.int64)
        infinite = tf.minimum(infinite, tf.where(finite, never, step))
        if sums_before is not None:
            is_same = tf.gather(sums, self._still) == sums_before
            first = tf.minimum(tf.gather(written, self._still), tf.where(is_same, never, step))
            written = tf.tensor_scatter_nd_update(written, np.asarray(self._still)[:, None], first)
        if copies is not None:
            self.ratio.assign(norms(copies, now))
        self.state.assign(tf.stack([sums, moved, written, infinite]))


def _read(variables: Sequence[Any]) -> list[Any]:
    return [variable.read_value() for variable in variables]


def _loss_of(made: Any) -> Any:
    return made.get("loss") if isinstance(made, Mapping) else None


def _step(number: Any) -> int:
    return 0 if number == _NEVER else int(number)
