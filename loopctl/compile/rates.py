"""Learning rates of a branch, while its optimizer is applied."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from loopctl.compile.selection import grouped
from loopctl.config import Substep


@contextlib.contextmanager
def at_rate(
    optimizer: Any, rate: Any = None, factors: Iterable[tuple[list[Any], Any]] = ()
) -> Iterator[None]:
    """While it lasts, an optimizer updates at another rate, which decay of weights follows.

    Nothing is written to the optimizer: what callbacks and schedules make of its rate stays.

    Args:
        optimizer: of any kind, also one that scales losses or consists of several.
        rate: scalar, or a schedule of the optimizer's updates; None: its own.
        factors: what multiplies the rate, for lists of variables.
    """
    whole = getattr(optimizer, "inner_optimizer", optimizer)
    parts = list(getattr(whole, "optimizers", [whole]))
    pairs = [(variables, tf.cast(factor, tf.float32)) for variables, factor in factors]
    if rate is not None and not callable(rate):
        rate = tf.cast(rate, tf.float32)
    # Replicas are here by turns: one may find what another has put in place.
    kinds = [getattr(type(part), "plain_kind", type(part)) for part in parts]
    for part, kind in zip(parts, kinds, strict=True):
        object.__setattr__(part, "__class__", _rated(kind, rate, pairs))
    try:
        yield
    finally:
        for part, kind in zip(parts, kinds, strict=True):
            object.__setattr__(part, "__class__", kind)


def _rated(kind: Any, rate: Any, pairs: list[tuple[list[Any], Any]]) -> Any:
    """A class of optimizers at these rates.

    It calls `kind` by name: while a replica waits for others, the optimizer may get their class.
    """
    decayed: list[Any] = [None]  # the factor of the variable that decays

    class Rated(kind):
        plain_kind = kind

        @property
        def learning_rate(self) -> Any:
            found = rate(self.iterations) if callable(rate) else rate
            found = kind.learning_rate.fget(self) if rate is None else found
            return found if decayed[0] is None else found * decayed[0]

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> Any:
            factor = self.factor_of(variable)
            own = learning_rate if factor is None else learning_rate * factor
            return kind.update_step(self, gradient, variable, own)

        # Private: Keras multiplies decay by the rate that all variables share, and has no public
        # place to say otherwise. tests/loopctl/compile/test_rates.py notices when it moves.
        def _apply_weight_decay(self, variables: list[Any]) -> None:
            for variable in variables:
                decayed[0] = self.factor_of(variable)
                kind._apply_weight_decay(self, [variable])
            decayed[0] = None

        def factor_of(self, variable: Any) -> Any:
            """By which the rate of a variable is multiplied, None for nothing."""
            if not pairs:
                return None
            # As Keras' own optimizers find their slots: an update has a replica's part of it.
            known = self._trainable_variables[self._get_variable_index(variable)]
            return next((f for group, f in pairs if any(v is known for v in group)), None)

    Rated.__name__, Rated.__qualname__ = kind.__name__, kind.__qualname__
    return Rated


def rate_groups(substep: Substep, selected: list[Any]) -> list[list[Any]]:
    """The variables of each factor of a substep's learning rate, of those that it trains.

    Raises:
        ConfigError: a glob matches none, or two match the same.
    """
    rates = substep.learning_rate
    if rates is None:
        return []
    where = substep.place("learning_rate")
    return grouped([glob for glob, _ in rates.factors], selected, where)
