"""What a step does with a gradient that is not finite."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from verify.find.observed import Observed
from verify.find.shapes import Shapes
from verify.match import Evaluation, NoValueError

_WHOLE = Shapes(None)
_DRAWS = (0, 2, 6, 5, 7)  # with gradients that are not large


def written_anyway(observed: Observed) -> list[str]:
    """Paths of the trained variables that are changed though one gradient is NaN in one element.

    In a draw in which they are changed by numbers.

    Raises:
        NoValueError: that can't be computed.
    """
    if not observed.ways or observed.ways.keys() != observed.flow.trained_of.keys():
        raise NoValueError("what updates a variable is not known")
    for draw in _DRAWS:
        usual = _changed(observed, draw, observed.evaluation(draw, _WHOLE))
        if usual:
            cut = observed.starts(draw, _WHOLE)
            last = next(reversed(observed.ways.values()))[0]
            number = tf.reshape(tf.range(tf.size(cut[last])), tf.shape(cut[last]))
            cut[last] = tf.where(number == 0, tf.cast(np.nan, cut[last].dtype), cut[last])
            here = Evaluation(observed.plan, observed.feed(draw, _WHOLE), cut)
            changed = _changed(observed, draw, here)
            return [path for path in usual if path in changed]
    raise NoValueError("no update is made in the steps that are looked at")


def _changed(observed: Observed, draw: int, here: Evaluation) -> list[str]:
    """Paths of the trained variables that hold something else after a step."""
    feed, found = observed.feed(draw, _WHOLE), list[str]()
    for key in observed.ways:
        variable = observed.updates[key].variable
        before, after = np.asarray(feed.variable(variable)), np.asarray(here.final(variable))
        if not np.array_equal(before, after):
            found.append(variable.path)
    return found
