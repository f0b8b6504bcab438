"""Which variables are updated by the gradient of another one.

The losses that a step differentiates are evaluated and differentiated once more, by TensorFlow and
not by the ops of the step. What its backward pass ends in for a variable should be the gradient by
that variable; it may be the one by another variable of the same shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.observed import Array, Observed
from verify.flow import Seed
from verify.graphs import REFUSED, Tensor, VariableRef
from verify.match import Drawn, Evaluation, NoValueError

_FEWEST = 3  # elements that are not zero: fewer are alike by accident
_TOLERANCE = 1e-3  # of the largest value; some ops have no form in double precision
_UNTOLD = (NoValueError, LookupError, *REFUSED)  # what is raised where TensorFlow has no gradient


def exchanged(observed: Observed) -> Iterator[tuple[str, str]]:
    """(path of a variable, path of the one by whose gradient it is updated)."""
    by_shape: dict[Any, list[int | str]] = {}
    for key in observed.ways:
        variable = observed.updates[key].variable
        by_shape.setdefault((variable.shape, variable.dtype), []).append(key)
    alike = [keys for keys in by_shape.values() if len(keys) > 1]
    if not alike or not observed.is_small:
        return
    try:
        told = _instead_of_own(observed, alike, 0)
        # Accidents do not happen twice by the same factor.
        again = _instead_of_own(observed, alike, 2) if told else {}
    except _UNTOLD:
        return
    for key, others in told.items():
        for other, factor in others.items():
            if np.isclose(factor, again.get(key, {}).get(other, 0.0), rtol=_TOLERANCE, atol=0):
                yield observed.step.paths[key], observed.step.paths[other]
                break


def _instead_of_own(
    observed: Observed, alike: Iterable[list[int | str]], draw: int
) -> dict[int | str, dict[int | str, float]]:
    """What `_instead` tells of each variable that the gradient of another one may update."""
    passes = [_Pass(observed, seed, draw) for seed in observed.flow.seeds]
    every = {key: _instead(observed, passes, key, keys) for keys in alike for key in keys}
    return {key: others for key, others in every.items() if others}


def _instead(
    observed: Observed, passes: Iterable[_Pass], key: int | str, others: Iterable[int | str]
) -> dict[int | str, float]:
    """The variables whose gradient updates another one, and what it is multiplied by.

    There are none where it is, or may be, updated by its own.
    """
    start, found = observed.ways[key][0], dict[int | str, float]()
    for one in passes:
        if start[0] not in one.reached:
            continue
        value = one.value(start)
        for gradients in one.gradients:
            if key not in gradients or _factor(value, gradients[key]) is not None:
                return {}
            for other in others:
                factor = _factor(value, gradients[other]) if other in gradients else None
                if factor is not None:
                    found[other] = factor
    return found


class _Pass:
    """One backward pass: what is differentiated, and by TensorFlow's own means."""

    def __init__(self, observed: Observed, seed: Seed, draw: int) -> None:
        self.reached = observed.flow.descendants([seed.node])
        self._fed = _Watched(observed, draw)
        with tf.GradientTape(persistent=True) as tape:
            self._fed.tape = tape
            self._evaluation = Evaluation(observed.plan, self._fed, recorded=True)
            sums = observed.flow.sums_of(seed)  # which of them was differentiated is not known
            losses = [tf.reduce_sum(self._evaluation.value(one)) for one in sums]
        watched = self._fed.watched
        results = (tape.gradient(loss, list(watched.values())) for loss in losses)
        self.gradients: list[dict[int | str, Array]] = [
            {
                k: tf.convert_to_tensor(gradient).numpy()  # of some rows, perhaps
                for k, gradient in zip(watched, result, strict=True)
                if gradient is not None
            }
            for result in results
        ]

    def value(self, tensor: Tensor) -> Array:
        return np.asarray(self._evaluation.value(tensor), np.float64)


class _Watched(Drawn):
    """Draws, where a tape records what is made of the variables that are trained."""

    def __init__(self, observed: Observed, draw: int) -> None:
        super().__init__(draw)
        self.trained = observed.flow.trained_of
        self.watched: dict[int | str, Any] = {}
        self.tape: Any = None

    def variable(self, variable: VariableRef) -> Any:
        if variable.key not in self.trained:
            return super().variable(variable)
        if variable.key not in self.watched:
            value = tf.cast(super().variable(variable), tf.float64)
            self.tape.watch(value)
            self.watched[variable.key] = value
        return self.watched[variable.key]


def _factor(value: Array, gradient: Array) -> float | None:
    """The number, not zero, that a gradient of several numbers is multiplied by to be a value."""
    flat, by = value.reshape(-1), gradient.reshape(-1)
    if flat.size != by.size or np.count_nonzero(by) < _FEWEST:
        return None
    factor = float(flat @ by / (by @ by))
    off = np.abs(flat - factor * by).max()
    return factor if factor != 0 and off <= _TOLERANCE * np.abs(flat).max() else None
