"""Whether a prediction and its target are of the same examples, in the same order.

Rows of what a step is fed are changed one at a time, and it is looked at which rows of the target
change, and which of what enters the model. That is done where an op on either way may have moved
rows: the model itself need not be run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.gradient_values import GradientValues
from verify.graphs import RESHAPES, Tensor
from verify.match import Evaluation, NoValueError

Array = np.ndarray[Any, Any]

# Ops that leave every row where it is.
_KEEPS = {"Cast", "OneHot", "StopGradient", *RESHAPES}
_MUCH = 0.3  # of the largest change: what a mean over the batch shares out is less
_MOST = 0.999  # of it: as much as the largest, such as one label in place of another
_ROWS = 3  # that are changed one by one, and the last


# What is fed in the place of a target: a bound, or a class that is asked for, may lie anywhere.
_SIZES = (1, 1e-2, 1e2, 1e4, 1e7, 1e12)
_CLASSES = (0, 8, 16, 32, 64, 100, 128, 255, 1000, 10_000)
_MOST_CONSTANTS = 64  # of one array


@dataclasses.dataclass(frozen=True)
class _Moved:
    """The rows that change much with one row of what a step is fed, and which change the most."""

    rows: frozenset[int]
    most: frozenset[int]

    def is_of(self, other: _Moved) -> bool:
        """Whether both may be of the same examples; each may be made of several."""
        return not (self.most.isdisjoint(other.rows) or other.most.isdisjoint(self.rows))

    def __str__(self) -> str:
        return f"row {min(self.most)}"


class Alignment:
    """Answers about one step, or one branch of it.

    Args:
        gradients: of the step; they are evaluated on what it is handed.
        shapes: nodes that are decided by the shape of what they take.
    """

    def __init__(self, gradients: GradientValues, shapes: set[int]) -> None:
        self.gradients, self.step = gradients, gradients.step
        self.flow, self.flat, self._shapes = gradients.flow, gradients.flat, shapes

    def told(self, prediction: Tensor, target: Tensor, made: bool = False) -> str:
        """What a target is instead of that of the examples that are judged; empty if it is that.

        `made`: whether the step makes it, so that it holds other numbers than what is fed.
        """
        fed, inputs = self._sources(prediction, target)
        if not fed or not inputs or (made and self._is_of_network(target, fed)):
            return ""
        entering = self._entering(prediction, inputs)
        ways = [(target, fed), *((tensor, inputs) for tensor in entering)]
        if not any(self._may_move(tensor, sources) for tensor, sources in ways):
            return ""
        try:
            other = made or self.step.targets is None
            return self._told(prediction, target, fed, entering, inputs, other)
        except NoValueError:
            return ""

    def is_fixed(self, target: Tensor) -> bool:
        """Whether a target is the same, whatever the step is fed as one: zero times that, say."""
        fed = self._behind(target, self.step.targets or ())
        try:
            base = self.gradients.evaluation(0)
            before = np.asarray(base.value(target))
            return bool(fed) and all(
                np.array_equal(before, np.asarray(changed.value(target)))
                for tensor in fed
                for other in _others(np.asarray(base.value(tensor)), self._numbers_in(target))
                for changed in [self.gradients.evaluation_with(0, {tensor: tf.constant(other)})]
            )
        except NoValueError:
            return False

    def _numbers_in(self, tensor: Tensor) -> list[float]:
        """The constants that a tensor is made with: it may ask what equals one of them."""
        above = self.flow.ancestors([tensor[0]], without=self._shapes)
        values = (self.flow.folder.value((index, 0)) for index in sorted(above))
        found = (v for v in values if v is not None and v.size <= _MOST_CONSTANTS)
        return [float(n) for v in found if v.dtype.kind in "fiu" for n in v.reshape(-1)]

    def _told(
        self,
        prediction: Tensor,
        target: Tensor,
        fed: list[Tensor],
        entering: list[Tensor],
        inputs: list[Tensor],
        other: bool,
    ) -> str:
        """`other`: whether a target may hold other numbers than what is fed."""
        base = self.gradients.evaluation(0)
        labels = [np.asarray(base.value(tensor)) for tensor in fed]
        sizes = {len(one) for one in labels if one.ndim}
        size = min(sizes) if len(sizes) == 1 else 0
        for row in dict.fromkeys([*range(min(_ROWS, size)), size - 1] if size > 1 else ()):
            with_labels = self._changed(fed, row)
            there = self._moved(target, base, with_labels, size)
            if there is None:
                continue
            changed = self._changed(inputs, row)
            seen = [self._moved(tensor, base, changed, size) for tensor in entering]
            known = [moved for moved in seen if moved is not None]
            if known and not any(there.is_of(moved) for moved in known):
                return f"that of {there} where its prediction is that of {known[0]}"
            if len(there.rows) == len(fed) == 1 and not (
                other
                or self._is_same(
                    labels[0][row], np.asarray(base.value(target))[min(there.most)], prediction
                )
            ):
                return "made of some columns of what is fed, or of these in another order"
        return ""

    def _is_same(self, fed: Array, used: Array, prediction: Tensor) -> bool:
        """Whether a row of a target is as it is fed, where it has as many numbers as that."""
        one, other = fed.reshape(-1), used.reshape(-1)
        if one.size == other.size:
            return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6))
        columns = math.prod(size or 0 for size in (self.flat.shape(prediction) or (0,))[1:])
        return columns != one.size

    def _sources(self, prediction: Tensor, target: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What the step is fed that a target is made of, and what the prediction is made of.

        If its arguments do not tell, it is what one of both is made of and the other is not.
        """
        if self.step.targets is not None:
            fed = self._behind(target, self.step.targets)
            return fed, sorted(self.step.inputs - self.step.targets)
        handed = self.gradients.fed.values()
        of_target, of_prediction = (self._behind(t, handed) for t in (target, prediction))
        return (
            [tensor for tensor in of_target if tensor not in of_prediction],
            [tensor for tensor in of_prediction if tensor not in of_target],
        )

    def _behind(self, tensor: Tensor, sources: Iterable[Tensor]) -> list[Tensor]:
        """Those of some tensors whose values a tensor is made of."""
        above = self.flow.ancestors([tensor[0]], without=self._shapes)
        return [source for source in sorted(sources) if source[0] in above]

    def _entering(self, prediction: Tensor, inputs: list[Tensor]) -> list[Tensor]:
        """What enters the ops by which weights first decide a prediction."""
        above = self.flow.ancestors([prediction[0]], without=self._shapes)
        fed = self.flow.descendants((index for index, _ in inputs), without=self._shapes)
        inside = above & self.flow.of_weights
        found = (t for index in sorted(inside) for t in self.flat.nodes[index].data)
        return [t for t in dict.fromkeys(found) if t[0] in fed and t[0] not in inside]

    def _may_move(self, tensor: Tensor, sources: Iterable[Tensor]) -> bool:
        """Whether an op between may have moved rows."""
        begin = {index for index, _ in sources}
        between = self.flow.ancestors([tensor[0]], without=self._shapes)
        between &= self.flow.descendants(begin, without=self._shapes)
        return any(self.flat.nodes[i].op not in _KEEPS for i in between - begin)

    def _is_of_network(self, tensor: Tensor, sources: Iterable[Tensor]) -> bool:
        """Whether a tensor is made by weights, which takes long and keeps examples apart."""
        between = self.flow.ancestors([tensor[0]], without=self._shapes)
        between &= self.flow.descendants((index for index, _ in sources), without=self._shapes)
        taken = {source for index in between for source, _ in self.flat.nodes[index].data}
        return any(node.index in taken and read.shape != () for node, read in self.flat.reads())

    def _changed(self, tensors: Iterable[Tensor], row: int) -> Evaluation:
        """The step where one row of what it is fed holds other values."""
        base = self.gradients.evaluation(0)
        cut: dict[Tensor, Any] = {}
        for tensor in tensors:
            value = np.array(base.value(tensor))
            if value.ndim and row < len(value):
                one = value[row]
                # In another order as well: of two classes, and of numbers.
                value[row] = ~one if one.dtype == bool else one ^ 1 if _counts(one) else 1.0 - one
            cut[tensor] = tf.constant(value, self.flat.dtype(tensor))
        return self.gradients.evaluation_with(0, cut)

    def _moved(
        self, tensor: Tensor, base: Evaluation, changed: Evaluation, size: int
    ) -> _Moved | None:
        """The rows of a tensor that change; None if it has other rows, or none does."""
        before, after = (
            np.asarray(evaluation.value(tensor), np.float64) for evaluation in (base, changed)
        )
        if not before.ndim or before.shape != after.shape or len(before) != size:
            return None
        by_row = np.abs(after - before).reshape(size, -1).max(axis=1, initial=0.0)
        if not np.isfinite(by_row).all() or not by_row.any():
            return None
        rows = np.flatnonzero(by_row >= _MUCH * by_row.max()).tolist()
        most = np.flatnonzero(by_row >= _MOST * by_row.max()).tolist()
        return _Moved(frozenset(rows), frozenset(most))


def _counts(values: Array) -> bool:
    return bool(np.issubdtype(values.dtype, np.integer))


def _others(value: Array, numbers: Iterable[float]) -> Iterator[Array]:
    """Values of the same kind: of all sizes and both signs, many classes, and certain numbers."""
    if value.dtype == bool:
        yield from (~value, np.ones_like(value), np.zeros_like(value))
        return
    least, most = -np.inf, np.inf
    if _counts(value):
        least, most = np.iinfo(value.dtype).min, np.iinfo(value.dtype).max
    else:
        small = np.asarray(value, np.float64) + 0.1  # none is zero
        yield from (sign * size * small for size in _SIZES for sign in (1, -1))
    dtype = value.dtype if _counts(value) else np.float64
    classes = np.arange(value.size).reshape(value.shape)
    yield from ((classes + n).astype(dtype) for n in _CLASSES if n <= most - value.size)
    yield from (np.full(value.shape, n, dtype) for n in numbers if least <= n <= most)
