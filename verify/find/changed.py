"""Which variables a step changes at all, whether they could be trained or not.

Structure says what is written; values whether that is anything but what was read. Numbers that
variables hold, a learning rate say, may be any: that one is zero today changes nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.observed import Held, Observed
from verify.find.shapes import Shapes
from verify.find.single_writes import Key, SingleWrites
from verify.graphs import Node, VariableRef
from verify.match import Domain, Evaluation, NoValueError, concrete, drawn

_DRAWS = 3
_DECIDED = (None, True, False)  # what truth values are
_SAME = 1e-12  # of the largest value: rounding of float64
_ROUNDED = 6e-8  # the same of float32: two constants that should add up to one, say
_MOST_FED = 1 << 21  # elements that a step is handed, to be evaluated as a whole


class Changed:
    """The writes that change what a variable holds."""

    def __init__(self, observed: Observed, writes: SingleWrites) -> None:
        self.observed, self.writes = observed, writes

    def by(self, variables: Iterable[VariableRef]) -> dict[Key, list[Node]]:
        """Of these variables, by key, the writes by which they are changed, or may be."""
        every = self.writes.by_key
        written = {v.key: every[v.key][0][1] for v in variables if v.key in every}
        nodes = {key: [node for node, _ in every[key]] for key in written}
        if not written or not self._can_be_evaluated:
            return nodes
        values = _Values(self, list(written.values()))
        found = {}
        for key, variable in written.items():
            changing = [node for node in nodes[key] if values.is_changed(variable, node)]
            if changing and not self._is_set_back(nodes[key], changing):
                found[key] = changing
        return found

    def _is_set_back(self, writes: list[Node], changing: list[Node]) -> bool:
        """Whether the last write always sets a variable to what it held before the first."""
        last = max(writes, key=lambda node: node.index)
        if last in changing or last.op != "AssignVariableOp":
            return False
        if any(node.path[: len(last.path)] != last.path for node in writes):
            return False
        first = min(node.index for node in writes)
        variable = self.writes.flat.variable(last)
        above = self.observed.flow.ancestors([last.index])
        reads = (node.index for node, read in self.writes.flat.reads() if read == variable)
        return not any(index > first for index in reads if index in above)

    @functools.cached_property
    def _can_be_evaluated(self) -> bool:
        flat = self.observed.flat
        shapes = [s for i in flat.arguments for s in flat.nodes[i].shapes if s is not None]
        fed = sum(math.prod(concrete(shape, 0)) for shape in shapes)
        return self.observed.is_small and fed <= _MOST_FED


class _Values:
    """Values of a step in which variables read as what they held before."""

    def __init__(self, changed: Changed, variables: list[VariableRef]) -> None:
        self.observed, self.writes = changed.observed, changed.writes
        self.variables = variables
        self._known: dict[tuple[int, bool | None], tuple[Evaluation, Held]] = {}
        given = [
            tensor
            for variable in variables
            for node, _ in self.writes.by_key[variable.key]
            for tensor in self.writes.given(node)
        ]
        starts = (way[0] for way in self.observed.ways.values())
        self._deciding = self.writes.deciding(given, starts)

    def is_changed(self, variable: VariableRef, write: Node) -> bool:
        """Whether a write changes a variable in any draw, or that can't be told."""
        told, flow = False, self.observed.flow
        by_itself = write.index not in flow.of_data | flow.backward
        same = _ROUNDED if by_itself else _SAME
        for draw in range(_DRAWS):
            for decided in _DECIDED:
                try:
                    evaluation, feed = self._evaluation(draw, decided)
                    before = np.asarray(feed.variable(variable))
                    after = self.writes.after(write, before, evaluation)
                except NoValueError:
                    continue
                if before.dtype.kind not in "iufb" or after.shape != before.shape:
                    return True
                if not np.isfinite(after).all():
                    continue
                told = True
                off = np.abs(after.astype(np.float64) - before.astype(np.float64))
                if (off > same * np.abs(before).max(initial=0)).any():
                    return True
        return not told

    def _evaluation(self, draw: int, decided: bool | None) -> tuple[Evaluation, Held]:
        if (draw, decided) not in self._known:
            self._known[draw, decided] = self._made(draw, decided)
        return self._known[draw, decided]

    def _made(self, draw: int, decided: bool | None) -> tuple[Evaluation, Held]:
        feed = _AnyNumbers(self.observed, draw, Shapes(None))
        cut = self.observed.starts(draw, feed.shapes)
        for variable in self.variables:
            cut |= self.writes.reads_as(variable.key, feed.variable(variable))
        cut |= self.writes.decided(self._deciding, decided, draw)
        return Evaluation(self.observed.plan, feed, cut), feed


class _AnyNumbers(Held):
    """Feeds what a step reads, whatever numbers variables hold now."""

    def variable(self, variable: VariableRef) -> Any:
        if variable.shape == () and tf.as_dtype(variable.dtype).is_floating:
            return tf.constant(drawn(((), variable.dtype), Domain.UNIT, self.draw, variable.path))
        return super().variable(variable)
