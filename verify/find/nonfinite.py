"""What a step does with a gradient that is not finite."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from verify.find.observed import Observed, Shapes
from verify.match import Evaluation, NoValueError

_WHOLE = Shapes(None)
_DRAW = 0


def written_anyway(observed: Observed) -> list[str]:
    """Paths of the trained variables that are changed though one gradient is NaN in one element.

    Raises:
        NoValueError: that can't be computed.
    """
    if not observed.ways or observed.ways.keys() != observed.flow.trained_of.keys():
        raise NoValueError("what updates a variable is not known")
    cut = observed.starts(_DRAW, _WHOLE)
    last = next(reversed(observed.ways.values()))[0]
    number = tf.reshape(tf.range(tf.size(cut[last])), tf.shape(cut[last]))
    cut[last] = tf.where(number == 0, tf.cast(np.nan, cut[last].dtype), cut[last])
    feed = observed.feed(_DRAW, _WHOLE)
    here = Evaluation(observed.plan, feed, cut)
    changed = []
    for key in observed.ways:
        variable = observed.updates[key].variable
        before, after = np.asarray(feed.variable(variable)), np.asarray(here.final(variable))
        if not np.array_equal(before, after):
            changed.append(variable.path)
    return changed
