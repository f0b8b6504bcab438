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
from verify.flow import SUMS, Seed
from verify.graphs import REFUSED, Tensor, VariableRef
from verify.match import Drawn, Evaluation, NoValueError, Plan

_MOST_ELEMENTS = 1 << 18  # of all variables of a step that is evaluated as a whole
_MOST_OPS = 4000
_TOLERANCE = 1e-3  # of the largest value; some ops have no form in double precision
_UNTOLD = (NoValueError, LookupError, *REFUSED)  # what is raised where TensorFlow has no gradient


def exchanged(observed: Observed) -> Iterator[tuple[str, str]]:
    """(path of a variable, path of the one by whose gradient it is updated)."""
    by_shape: dict[Any, list[int | str]] = {}
    for key in observed.ways:
        variable = observed.updates[key].variable
        by_shape.setdefault((variable.shape, variable.dtype), []).append(key)
    alike = [keys for keys in by_shape.values() if len(keys) > 1]
    if not alike or not _is_small(observed):
        return
    try:
        passes = [_Pass(observed, seed) for seed in observed.flow.seeds]
        for keys in alike:
            for key in keys:
                other = _instead(observed, passes, key, keys)
                if other is not None:
                    yield observed.step.paths[key], observed.step.paths[other]
    except _UNTOLD:
        return


def _is_small(observed: Observed) -> bool:
    shapes = (v.shape for v in observed.step.variables)
    elements = sum(int(np.prod([n or 1 for n in shape])) for shape in shapes)
    return elements <= _MOST_ELEMENTS and len(observed.flat.nodes) <= _MOST_OPS


def _instead(
    observed: Observed, passes: Iterable[_Pass], key: int | str, others: Iterable[int | str]
) -> int | str | None:
    """The variable by which a gradient is taken, if that is not the one that it updates."""
    start = observed.ways[key][0]
    found: int | str | None = None
    for one in passes:
        if start[0] not in one.reached:
            continue
        value = one.value(start)
        for gradients in one.gradients:
            if key in gradients and _is_multiple(value, gradients[key]):
                return None
            for other in others:
                if other in gradients and _is_multiple(value, gradients[other]):
                    found = other
    return found


class _Pass:
    """One backward pass: what is differentiated, and by TensorFlow's own means."""

    def __init__(self, observed: Observed, seed: Seed) -> None:
        self.observed, self.flow = observed, observed.flow
        self.reached = self.flow.descendants([seed.node])
        self._fed = _Watched(observed)
        with tf.GradientTape(persistent=True) as tape:
            self._fed.tape = tape
            self._evaluation = Evaluation(Plan(observed.flat), self._fed, recorded=True)
            losses = [tf.reduce_sum(self._evaluation.value(one)) for one in self._whole(seed)]
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

    def _whole(self, seed: Seed) -> list[Tensor]:
        """A loss, and the sums that it is a part of: which one was differentiated is not known."""
        found = [seed.loss]
        for tensor in found:
            for user in self.flow.consumers[tensor[0]]:
                if self.flow.flat.nodes[user].op in SUMS and user not in self.flow.backward:
                    found += [(user, 0)] if (user, 0) not in found else []
        return found


class _Watched(Drawn):
    """Draws, where a tape records what is made of the variables that are trained."""

    def __init__(self, observed: Observed) -> None:
        super().__init__(0)
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


def _is_multiple(value: Array, gradient: Array) -> bool:
    """Whether a value is a gradient times a number that is not zero."""
    if value.size != gradient.size or not gradient.any():
        return False
    flat, by = value.reshape(-1), gradient.reshape(-1)
    factor = float(flat @ by / (by @ by))
    off = np.abs(flat - factor * by).max(initial=0)
    return factor != 0 and bool(off <= _TOLERANCE * np.abs(flat).max(initial=0))
