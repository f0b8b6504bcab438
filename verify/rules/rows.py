"""Whether predictions are judged by the targets of their own examples.

One row of the targets is changed at a time, and it is looked at which rows of the gradient by the
prediction change; one row of the inputs, and which rows of the prediction do. Of one example, some
row has to be among both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import REFUSED, Tensor
from verify.match import Evaluation, NoValueError
from verify.rules.influence import Array, other_row
from verify.rules.seen import Seen

_DRAW = 0
_MUCH = 0.3  # of the largest change: what a normalisation shares out is less
_Cut = dict[Tensor, Any]
_Rows = Callable[[Seen, Tensor, _Cut], frozenset[int]]
_UNTOLD = (NoValueError, LookupError, *REFUSED)  # what is raised where TensorFlow has no gradient


def misaligned(seen: Seen) -> Iterator[tuple[Tensor, int, int]]:
    """(a prediction, the row of a target, the row of the prediction that it decides instead)."""
    inputs = sorted(seen.step.inputs - (seen.step.targets or frozenset()))
    yield from _compared(seen, sorted(seen.step.targets or ()), inputs, _by_value)


def misaligned_weights(seen: Seen) -> Iterator[tuple[Tensor, int, int]]:
    """(a prediction, the row of a sample weight, the row of the prediction that it weighs instead).

    Instead of the one that the target of that row decides.
    """
    yield from _compared(seen, seen.detector.sample_weights.handed, sorted(seen.step.targets or ()))


def _compared(
    seen: Seen, judging: list[Tensor], own: list[Tensor], rows: _Rows | None = None
) -> Iterator[tuple[Tensor, int, int]]:
    if not seen.influence.is_told or not judging or not own:
        return
    for tensor in _predictions(seen):
        try:
            found = _others(seen, tensor, judging, own, rows or _by_slope)
        except _UNTOLD:
            continue
        if found is not None:
            yield tensor, *found


def _predictions(seen: Seen) -> list[Tensor]:
    """What the known model returns in its one call; else what known losses judge."""
    outputs = seen.detector.outputs
    if outputs.returned:
        found = {*outputs.returned} if outputs.is_called_once else set()
    else:
        found = {one.predicted for _, one in seen.losses if one.predicted is not None}
    return sorted(t for t in found if t[0] in seen.differentiated)


def _others(
    seen: Seen, prediction: Tensor, judging: list[Tensor], own: list[Tensor], rows: _Rows
) -> tuple[int, int] | None:
    """The first row that is judged as another one, if all rows that are looked at are."""
    base = seen.influence.values.evaluation(_DRAW)
    held = np.asarray(base.value(prediction), np.float64)
    sizes = {np.shape(base.value(t))[:1] for t in (*judging, *own)} | {held.shape[:1]}
    size = max(sizes.pop() or (0,)) if len(sizes) == 1 else 0
    first = None
    for row in (0, 1, size - 1) if size > 2 else ():
        there = _by_slope(seen, prediction, _cut(base, judging, row))
        mine = rows(seen, prediction, _cut(base, own, row))
        if not there or not mine or there & mine:
            return None
        first = first or (row, min(there))
    return first


def _by_value(seen: Seen, prediction: Tensor, cut: _Cut) -> frozenset[int]:
    """The rows of a prediction that other values change."""
    base = seen.influence.values.evaluation(_DRAW)
    here = seen.influence.values.evaluation_with(_DRAW, cut)
    before, after = (np.asarray(one.value(prediction), np.float64) for one in (base, here))
    return _changed(before, after)


def _by_slope(seen: Seen, prediction: Tensor, cut: _Cut) -> frozenset[int]:
    """The rows of the gradient by a prediction that other values change."""
    base = seen.influence.values.evaluation(_DRAW)
    held = np.asarray(base.value(prediction), np.float64)
    return _changed(*(_slopes(seen, prediction, held, one) for one in ({}, cut)))


def _cut(base: Evaluation, tensors: list[Tensor], row: int) -> _Cut:
    return {t: tf.constant(other_row(np.asarray(base.value(t)), row)) for t in tensors}


def _slopes(seen: Seen, prediction: Tensor, held: Array, cut: _Cut) -> Array:
    """The gradient by a prediction of all that is differentiated."""
    base, watched = seen.influence.values.evaluation(_DRAW), tf.constant(held)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        here = Evaluation(base.plan, base.feed, {**cut, prediction: watched}, recorded=True)
        losses = [
            tf.reduce_sum(here.value(one))
            for seed in seen.flow.seeds
            for one in seen.flow.sums_of(seed)[-1:]
        ]
        whole = tf.add_n([tf.cast(loss, tf.float64) for loss in losses])
    found = tape.gradient(whole, watched)
    if found is None:
        raise NoValueError("what is differentiated does not depend on it")
    return np.asarray(found, np.float64)


def _changed(before: Array, after: Array) -> frozenset[int]:
    """The rows that change much."""
    by_row = np.abs(after - before).reshape(len(before), -1).max(axis=1, initial=0.0)
    if not np.isfinite(by_row).all() or not by_row.any():
        return frozenset()
    return frozenset(np.flatnonzero(by_row >= _MUCH * by_row.max()).tolist())
