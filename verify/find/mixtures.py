"""Which variables are averages of what others hold that no single one of them explains.

Of some rows of a table, say, of several variables, or of one of another shape. What is written is
linear in what is read: that of a sum is the sum of both, whatever the ops are; and of ones it is
ones. The vector of a spectral norm, which is made of weights as well, is not linear.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.observed import Array, Held, Observed
from verify.find.shapes import Shapes
from verify.find.single_writes import SingleWrites
from verify.graphs import Node, Tensor, VariableRef
from verify.match import Domain, Evaluation, NoValueError, concrete, drawn

_EXACT = 1e-6  # of the largest element
_MOST = 1 << 18  # elements of what is read


class Mixtures:
    """Answers about one step, or one branch of it."""

    def __init__(self, observed: Observed, writes: SingleWrites) -> None:
        self.observed, self.flat, self.writes = observed, observed.flat, writes

    def among(self, paths: Iterable[str], without: Container[int | str]) -> list[str]:
        """Which variables of these paths, and of none of these keys, are written so."""
        wanted = {*paths}
        return sorted(
            writes[0][1].path
            for key, writes in self.writes.by_key.items()
            if writes[0][1].path in wanted
            and key not in without
            and any(self.is_one(*write) for write in writes)
        )

    def is_one(self, node: Node, variable: VariableRef) -> bool:
        """Whether what a write makes is an average of what variables hold, not of its own alone."""
        if "float" not in variable.dtype or variable.shape == ():
            return False
        try:
            one, other, both = (self._after(node, variable, held) for held in ((0,), (1,), (0, 1)))
            alone, ones = self._after(node, variable, (0,), (1,)), self._after(node, variable, ())
        except NoValueError:
            return False
        size = float(np.abs(both).max(initial=0.0))
        if not np.isfinite([one, other, both, alone, ones]).all():
            return False
        off = np.abs(one + other - both).max(initial=0.0), np.abs(ones - 1).max(initial=0.0)
        average = off[0] <= _EXACT * size and off[1] <= _EXACT
        return bool(average) and not np.array_equal(one, alone)

    def _after(
        self,
        node: Node,
        variable: VariableRef,
        draws: tuple[int, ...],
        others: tuple[int, ...] | None = None,
    ) -> Array:
        """What is written where variables hold the sum of draws, of none ones.

        `others`: the draws of the other variables, if not the same.
        """
        feed = _Summed(self.observed, variable, draws, draws if others is None else others)
        before = feed.variable(variable)
        cut: dict[Tensor, Any] = {}
        for read, one in self.flat.reads():
            if "float" in one.dtype and read.op == "ReadVariableOp":
                cut[read.index, 0] = feed.variable(one)
        rows = Evaluation(self.observed.plan, feed, cut)
        above = self.observed.flow.ancestors([node.index])
        for read, one in self.flat.reads():
            if "float" in one.dtype and read.op == "ResourceGather" and read.index in above:
                cut[read.index, 0] = tf.gather(feed.variable(one), rows.value(read.data[1]))
        return self.writes.after(node, before, Evaluation(self.observed.plan, feed, dict(cut)))


class _Summed(Held):
    """Feeds sums of several draws, of none ones: of one variable, and of all others."""

    def __init__(
        self,
        observed: Observed,
        target: VariableRef,
        own: tuple[int, ...],
        others: tuple[int, ...],
    ) -> None:
        super().__init__(observed, 0, Shapes(None))
        self._target, self._own, self._others = target, own, others

    def variable(self, variable: VariableRef) -> Any:
        if "float" not in variable.dtype or variable.shape == ():
            return super().variable(variable)
        shape = concrete(variable.shape, 0)
        if math.prod(shape) > _MOST:
            raise NoValueError(f"{variable.path} is too large to be drawn")
        spec = shape, "float64"
        draws = self._own if variable.key == self._target.key else self._others
        every = [drawn(spec, Domain.REAL, draw, variable.path) for draw in draws]
        return tf.constant(np.sum(every, axis=0) if every else np.ones(shape))
