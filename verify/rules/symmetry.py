"""Which kernels hold the same weights for all units, and get the same gradients for all of them.

The gradients are those at what variables hold now, of data that are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from verify.flow import Update
from verify.match import Evaluation
from verify.rules.influence import Array
from verify.rules.seen import Seen

_DRAWS = (0, 1)
_EXACT = 1e-6  # of the largest gradient of a kernel


def tied(seen: Seen) -> Iterator[str]:
    """Paths of the kernels whose units can't become different."""
    suspects = [update for update in seen.trained if _is_alike(_now(seen, update), 0.0)]
    if not suspects or not seen.influence.is_told:
        return
    left = dict.fromkeys(suspects, 0)
    for draw in _DRAWS:
        gradients = _gradients(seen, draw)
        if gradients is None:
            return
        for update in [*left]:
            gradient = gradients[update].reshape([n or 0 for n in update.variable.shape])
            if not _has_twins(gradient, _EXACT):
                del left[update]
    yield from (update.variable.path for update in left)


def _now(seen: Seen, update: Update) -> Array | None:
    """What a kernel holds now; None of what is none, or is not known."""
    variable = seen.held.get(update.variable.key)
    shape = update.variable.shape
    if variable is None or len(shape) < 2 or (shape[-1] or 0) < 2:
        return None
    return np.asarray(variable)


def _is_alike(kernel: Array | None, tolerance: float) -> bool:
    """Whether all units, along the last dimension, have the same numbers."""
    if kernel is None:
        return False
    scale = np.abs(kernel).max(initial=0)
    return bool(np.abs(kernel - kernel[..., :1]).max(initial=0) <= tolerance * scale)


def _has_twins(gradient: Array, tolerance: float) -> bool:
    """Whether each unit gets the gradient of another one.

    Not all have to get the same: a recurrent layer has the kernels of several gates in one.
    """
    columns = gradient.reshape(-1, gradient.shape[-1]).T
    apart = np.abs(columns[:, None] - columns[None]).max(axis=-1, initial=0)
    np.fill_diagonal(apart, np.inf)
    return bool((apart.min(axis=-1) <= tolerance * np.abs(columns).max(initial=0)).all())


def _gradients(seen: Seen, draw: int) -> dict[Update, Array] | None:
    """The gradients in one draw of data, where variables hold what they do now."""
    base, cut = seen.influence.values.evaluation(draw), dict[Any, Any]()
    for node, variable in seen.flat.reads():
        held = seen.held.get(variable.key)
        if held is not None and node.op == "ReadVariableOp":
            cut[node.index, 0] = tf.constant(np.asarray(held), variable.dtype)
    here = Evaluation(base.plan, base.feed, cut)
    return seen.influence.read(here)
