"""Graph predicates: conditions that are evaluated inside the graph, before every train step.

    {"gate": {"cond": when.batches % 10 < 8, True: {...}}}
    {"late": {"cond": (when.epochs >= 10) & (when.loss.mean(3000) < 0.2), True: {...}}}

Counters are 64-bit integers, everything else is computed in float64. ``when.<name>`` is the column
of that name in the callback's history: a loss, a metric, a control state. Its statistics reach
back to the last reinitialisation and no further: a window larger than what has been seen is the
window of what has been seen; with nothing seen yet, or a NaN among what was seen, the statistic is
NaN and a comparison with it False (``!=``: True).

``when.val_<name>`` is what ``fit`` measures on validation data: a value for each epoch that was
validated, known when that epoch has ended and throughout the next.

``when.plateau(column, patience)`` holds while no value has been better than the best for so long.

Numbers may also follow a counter, for weights and rates: `linear`, `cosine`, `piecewise`, with
arithmetic, `minimum` and `maximum`.

Conditions are combined by ``&``, ``|`` and ``~``. Called with a callback, a condition is evaluated
on the host, so that it serves an async action as well.
"""

from __future__ import annotations

from loopctl import config as _config
from loopctl.config import (
    cosine,
    every,
    linear,
    maximum,
    minimum,
    parse_value,
    piecewise,
    plateau,
    since_best,
)
from loopctl.config import parse_predicate as parse

__all__ = [
    *_config.COUNTERS,
    "always",
    "column",
    "cosine",
    "every",
    "linear",
    "maximum",
    "minimum",
    "parse",
    "parse_value",
    "piecewise",
    "plateau",
    "since_best",
]

batches = _config.Counter("batches")
"""Train steps since ``fit`` began, or since `callback.batches` was assigned."""
batches_in_epochs = _config.Counter("batches_in_epochs")
"""Train steps of the current epoch."""
epochs = _config.Counter("epochs")
"""Finished epochs since ``fit`` began, or since `callback.epochs` was assigned."""
reinit_batches = _config.Counter("reinit_batches")
"""Train steps since the last reinitialisation."""
reinit_epochs = _config.Counter("reinit_epochs")
"""Finished epochs since the last reinitialisation."""
always: _config.Condition = _config.Always()
"""True in every train step."""


def column(name: str) -> _config.Series:
    """The history's column `name`, if it is no identifier or hidden by a name of this module."""
    return _config.Series(name)


def __getattr__(name: str) -> _config.Series:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _config.Series(name)
