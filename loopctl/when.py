"""Graph predicates: conditions that are evaluated inside the graph, before every train step.

    {"gate": {"cond": when.batches % 10 < 8, True: {...}}}
    {"late": {"cond": (when.epochs >= 10) & (when.loss.mean(3000) < 0.2), True: {...}}}

Counters are 64-bit integers; everything else is computed in float64. ``when.<name>`` is the column
of that name in the callback's history: a loss, a metric or a control state. Its statistics reach
back to the last reinitialisation at most; if fewer values have been seen than a window holds, all
of them are used. If nothing has been seen yet, or if there is a NaN in the window, the statistic is
NaN and comparisons with it are False (except that ``!=`` is True).

``when.val_<name>`` is what ``fit`` measures on validation data. It has one value for each validated
epoch, known at the end of that epoch and throughout the next one.

``when.plateau(column, patience)`` holds if there has been no better value for `patience` values.

Numbers that follow a counter serve as weights and learning rates: `linear`, `cosine`, `piecewise`,
combined by arithmetic, `minimum` and `maximum`.

Conditions are combined with ``&``, ``|`` and ``~``. If a condition is called with a callback, it is
evaluated on the host, so it can be used in an async action as well.
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
    """The column `name` of the history, for names that ``when.<name>`` cannot spell.

    These are names that are no Python identifiers, and names that this module uses itself.
    """
    return _config.Series(name)


def __getattr__(name: str) -> _config.Series:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _config.Series(name)
