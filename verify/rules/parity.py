"""What an update is for other gradients: negated, or multiplied by a loss scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from verify.flow import Update
from verify.match import Evaluation, NoValueError
from verify.rules.influence import Array
from verify.rules.seen import Seen

_DRAWS = (0, 2, 6)
_SAME = 1e-9


def even(seen: Seen) -> Iterator[Update]:
    """The updates that a gradient decides and its sign does not, in each draw."""
    observed = seen.detector.gradient_values.observed
    for one, keys in observed.alike.items():
        told = [_is_even(seen, one, draw) for draw in _DRAWS]
        known = [verdict for verdict in told if verdict is not None]
        if len(known) > 1 and all(known):
            yield from (observed.updates[key] for key in keys)


def _is_even(seen: Seen, key: int | str, draw: int) -> bool | None:
    """None where the update is not made, or does not depend on the gradient in this draw."""
    observed = seen.detector.gradient_values.observed
    update = observed.updates[key]
    for shapes in observed.shapes:
        try:
            if not observed.is_made(update, draw, shapes):
                return None
            plain, negated, other = (_after(seen, key, draw, shapes, t) for t in (1.0, -1.0, 0.37))
            before = np.asarray(observed.feed(draw, shapes).variable(update.variable))
        except NoValueError:
            continue
        if not np.isfinite([plain, negated, other]).all():
            return None
        scale = np.abs(plain - before).max(initial=0)
        if scale == 0 or np.abs(plain - other).max() <= 1e-6 * scale:
            return None
        return bool(np.abs(plain - negated).max() <= _SAME * scale)
    return None


def _after(seen: Seen, key: int | str, draw: int, shapes: Any, times: float) -> Array:
    """What a variable holds after its update by gradients that are multiplied by a number."""
    observed = seen.detector.gradient_values.observed
    own = {way[0] for way in observed.ways.values()}
    starts = observed.starts(draw, shapes).items()
    cut = {t: times * value if t in own else value for t, value in starts}
    here = Evaluation(observed.plan, observed.feed(draw, shapes), cut)
    return np.asarray(here.final(observed.updates[key].variable), np.float64)


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
