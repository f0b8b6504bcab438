"""Whether predictions are judged by the targets of their own examples.

One row of the targets is changed at a time, and it is looked at which rows of the gradient by the
prediction change; one row of the inputs, and which rows of the prediction do. Of one example, some
row has to be among both. What is shuffled leaves some rows where they are, now and then: where
numbers are drawn, several draws are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import REFUSED, Tensor, draws
from verify.match import Evaluation, NoValueError
from verify.rules.influence import Array, other_row
from verify.rules.seen import Seen

_DRAWS = (0, 2, 6, 10)
_ENOUGH = 2  # of these in which all rows are judged as others
_MUCH = 0.3  # of the largest change: what a normalisation shares out is less
_Cut = dict[Tensor, Any]
_Rows = Callable[[Seen, Tensor, int, _Cut], frozenset[int]]
UNTOLD = (NoValueError, LookupError, *REFUSED)  # what is raised where TensorFlow has no gradient


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
    random = any(draws(seen.flat.nodes[index].op) for index in seen.differentiated)
    some, enough = (_DRAWS, _ENOUGH) if random else (_DRAWS[:1], 1)
    for tensor in _predictions(seen):
        told, untold = list[tuple[int, int]](), 0
        for draw in some:
            if len(told) == enough or untold > len(some) - enough:
                break
            try:
                found = _others(seen, tensor, draw, judging, own, rows or _by_slope)
            except UNTOLD:
                found = None
            told += [] if found is None else [found]
            untold += found is None
        if len(told) == enough:
            yield tensor, *told[0]


def _predictions(seen: Seen) -> list[Tensor]:
    """What the known model returns in its one call; else what known losses judge."""
    outputs = seen.detector.outputs
    if outputs.returned:
        found = {*outputs.returned} if outputs.is_called_once else set()
    else:
        found = {one.predicted for _, one in seen.losses if one.predicted is not None}
    return sorted(t for t in found if t[0] in seen.differentiated)


def _others(
    seen: Seen,
    prediction: Tensor,
    draw: int,
    judging: list[Tensor],
    own: list[Tensor],
    rows: _Rows,
) -> tuple[int, int] | None:
    """The first row that is judged as another one, if all rows that are looked at are."""
    base = seen.influence.values.evaluation(draw)
    held = np.asarray(base.value(prediction), np.float64)
    sizes = {np.shape(base.value(t))[:1] for t in (*judging, *own)} | {held.shape[:1]}
    size = max(sizes.pop() or (0,)) if len(sizes) == 1 else 0
    first = None
    for row in (0, 1, size - 1) if size > 2 else ():
        there = _by_slope(seen, prediction, draw, _cut(base, judging, row))
        mine = rows(seen, prediction, draw, _cut(base, own, row))
        if not there or not mine or there & mine:
            return None
        first = first or (row, min(there))
    return first


def rows_judged(seen: Seen, prediction: Tensor, targets: list[Tensor]) -> bool:
    """Whether the target of each row decides the gradient by this row of a prediction alone."""
    try:
        base = seen.influence.values.evaluation(_DRAWS[0])
        cuts = {row: _cut(base, targets, row) for row in (0, 1)}
        there = {row: _by_slope(seen, prediction, _DRAWS[0], cut) for row, cut in cuts.items()}
    except UNTOLD:
        return False
    return all(rows == {row} for row, rows in there.items())


def _by_value(seen: Seen, prediction: Tensor, draw: int, cut: _Cut) -> frozenset[int]:
    """The rows of a prediction that other values change."""
    base = seen.influence.values.evaluation(draw)
    here = seen.influence.values.evaluation_with(draw, cut)
    before, after = (np.asarray(one.value(prediction), np.float64) for one in (base, here))
    return _changed(before, after)


def _by_slope(seen: Seen, prediction: Tensor, draw: int, cut: _Cut) -> frozenset[int]:
    """The rows of the gradient by a prediction that other values change."""
    base = seen.influence.values.evaluation(draw)
    held = np.asarray(base.value(prediction), np.float64)
    return _changed(*(slopes(seen, prediction, draw, held, one) for one in ({}, cut)))


def _cut(base: Evaluation, tensors: list[Tensor], row: int) -> _Cut:
    return {t: tf.constant(other_row(np.asarray(base.value(t)), row)) for t in tensors}


def slopes(
    seen: Seen, prediction: Tensor, draw: int, held: Array, cut: Mapping[Tensor, Any]
) -> Array:
    """The gradient by a prediction of all that is differentiated, where it holds some numbers."""
    base, watched = seen.influence.values.evaluation(draw), tf.constant(held)
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
