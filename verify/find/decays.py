"""Which variables grow by the share of themselves that they should shrink by.

That a step adds a share of a variable to it is told by structure (`verify.flow`); whether it makes
the variable smaller, by values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from verify.find.observed import Observed
from verify.find.optimizers import Optimizers
from verify.find.treatments import Treatments
from verify.flow import Update
from verify.match import NoValueError

_LEFT: Mapping[str, Callable[[float], float]] = {
    "AssignVariableOp": lambda share: share,
    "AssignAddVariableOp": lambda share: 1 + share,
    "AssignSubVariableOp": lambda share: 1 - share,
}
"""What is left of a variable when a share of it is written, by the op that writes it."""


def shrinks(observed: Observed, optimizers: Optimizers, treatments: Treatments) -> dict[str, bool]:
    """By path of each variable that a share of itself is added to: whether that makes it smaller.

    What is set to the value that it holds is none of these.
    """
    found: dict[str, bool] = {}
    known, count = dict[tuple[int | str, int], float](), Counter[int | str]()
    for update in observed.flow.decayed:
        key = update.variable.key
        place = observed.stands_for.get(key, key), count[key]  # of its updates that are decays
        count[key] += 1
        if place not in known:
            known[place] = _left(update, observed, optimizers, treatments)
        if known[place] != 1:
            path = update.variable.path
            found[path] = found.get(path, True) and known[place] < 1
    return found


def _left(
    update: Update, observed: Observed, optimizers: Optimizers, treatments: Treatments
) -> float:
    """How much is left of a variable, at most; less than all where that is not known."""
    if update.node.index in observed.flow.backward:
        treatment, rule = treatments.of(update), optimizers.rules.get(update.variable.key)
        added = treatment is not None and treatment.decay < 0
        return 2.0 if added or (rule is not None and rule.decay < 0) else 0.0
    factor = _factor(observed, update)
    return 0.0 if factor is None else abs(factor)


def _factor(observed: Observed, update: Update) -> float | None:
    """What a variable is multiplied by; None if that is not one number, or not known."""
    for shapes in observed.shapes:
        try:
            values = observed.of_held(update.node.data[1], update.variable, shapes)
        except NoValueError:
            continue
        written, held = (np.asarray(value, np.float64) for value in values)
        share = float(np.sum(written * held) / np.sum(held * held))
        known = update.node.op in _LEFT and np.allclose(written, share * held, rtol=1e-6, atol=0)
        return _LEFT[update.node.op](share) if known else None
    return None
