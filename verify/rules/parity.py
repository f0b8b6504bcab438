"""What an update is for other gradients: negated, or multiplied by a loss scale."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find import Observed, Shapes
from verify.flow import Update
from verify.graphs import Tensor
from verify.match import Evaluation, NoValueError
from verify.rules.influence import Array
from verify.rules.seen import Seen

_DRAWS = (0, 2, 6)
_SAME = 1e-9


def even(seen: Seen) -> Iterator[Update]:
    """The updates that a gradient decides and its sign does not, in each draw."""
    observed = seen.detector.gradient_values.observed
    left = dict.fromkeys(observed.alike, 0)
    for draw in _DRAWS:
        told = _evenness(observed, draw, left)
        left = {key: known + (key in told) for key, known in left.items() if told.get(key, True)}
    for key, known in left.items():
        if known > 1:
            yield from (observed.updates[one] for one in observed.alike[key])


def _evenness(observed: Observed, draw: int, keys: Iterable[int | str]) -> dict[int | str, bool]:
    """Which updates are even in one draw: of those that are made, and depend on gradients there."""
    left, found = dict.fromkeys(keys), dict[int | str, bool]()
    for shapes in observed.shapes:
        if not left:
            break
        # One evaluation tells all updates: many of a large model share a norm.
        multiplied = _Multiplied(observed, draw, shapes)
        for key in [*left]:
            try:
                told = _is_even(multiplied, observed.updates[key])
            except NoValueError:
                continue
            del left[key]
            if told is not None:
                found[key] = told
    return found


class _Multiplied:
    """What variables hold after updates by gradients that are multiplied by a number."""

    def __init__(self, observed: Observed, draw: int, shapes: Shapes) -> None:
        self.observed, self.draw, self.shapes = observed, draw, shapes
        self._evaluations: dict[float, Evaluation] = {}

    def before(self, update: Update) -> Array:
        held = self.observed.feed(self.draw, self.shapes).variable(update.variable)
        return np.asarray(held, np.float64)

    def after(self, update: Update, times: float) -> Array:
        if times not in self._evaluations:
            own = {way[0] for way in self.observed.ways.values()}
            cut = {t: times * v if t in own else v for t, v in self._starts.items()}
            feed = self.observed.feed(self.draw, self.shapes)
            self._evaluations[times] = Evaluation(self.observed.plan, feed, cut)
        return np.asarray(self._evaluations[times].final(update.variable), np.float64)

    @functools.cached_property
    def _starts(self) -> dict[Tensor, Any]:
        return self.observed.starts(self.draw, self.shapes)


def _is_even(multiplied: _Multiplied, update: Update) -> bool | None:
    """None where the update is not made, or does not depend on the gradient in this draw."""
    if not multiplied.observed.is_made(update, multiplied.draw, multiplied.shapes):
        return None
    plain, other = (multiplied.after(update, times) for times in (1.0, 0.37))
    negated = multiplied.after(update, -1.0)
    if not np.isfinite([plain, negated, other]).all():
        return None
    scale = np.abs(plain - multiplied.before(update)).max(initial=0)
    if scale == 0 or np.abs(plain - other).max() <= 1e-6 * scale:
        return None
    return bool(np.abs(plain - negated).max() <= _SAME * scale)


def scale_matters(seen: Seen) -> Iterator[Update]:
    """The updates that differ with the loss scale, where gradients are multiplied by as much."""
    observed = seen.detector.gradient_values.observed
    for one, keys in observed.alike.items():
        if any(_differs(seen, one, draw) for draw in _DRAWS):
            yield from (observed.updates[key] for key in keys)


def _differs(seen: Seen, key: int | str, draw: int) -> bool:
    """Whether a scale of 8 makes another update than one of 8192."""
    observed = seen.detector.gradient_values.observed
    update, reads = observed.updates[key], seen.detector.search.scaling.dynamic
    own = {way[0] for way in observed.ways.values()}
    for shapes in observed.shapes:
        try:
            made = []
            for scale in (8.0, 8192.0):
                cut = {
                    t: scale * v if t in own else v
                    for t, v in observed.starts(draw, shapes).items()
                }
                cut |= {(i, 0): tf.constant(scale, v.dtype) for i, v in reads.items()}
                here = Evaluation(observed.plan, observed.feed(draw, shapes), cut)
                made.append(np.asarray(here.final(update.variable), np.float64))
            before = np.asarray(observed.feed(draw, shapes).variable(update.variable))
        except NoValueError:
            continue
        one, other = made
        scale = max(np.abs(one - before).max(initial=0), np.abs(other - before).max(initial=0))
        told = np.isfinite(made).all() and one.shape == other.shape
        return bool(told and np.abs(one - other).max(initial=0) > 1e-6 * scale)
    return False
