"""Values of the gradient of a regulariser by the variable, for given values of that."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from verify.graphs import Spec
from verify.match import Drawn, Evaluation, NoValueError, Pattern, Plan
from verify.references.regularisers import FAMILIES, regulariser_pattern

Array = np.ndarray[Any, Any]


class RegulariserGradient:
    """The gradient of one regulariser, as it was traced."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern, self._plan = pattern, Plan(pattern.flat)

    def __call__(self, held: Array) -> Array | None:
        """The gradient where the variable holds these values, float64; None if it has none."""
        given = {"variable": held, "upstream": np.ones(())}
        leaves = {(index, 0): role for index, role in self._pattern.leaves.items()}
        cut = {t: tf.constant(given[role], tf.float64) for t, role in leaves.items()}
        evaluation = Evaluation(self._plan, Drawn(0), cut)
        try:
            parts = [evaluation.value(t).numpy() for t in self._pattern.summands]
        except NoValueError:
            return None
        return np.asarray(np.sum(parts, axis=0), np.float64)


@functools.cache
def family_gradients(name: str, value: Spec) -> tuple[RegulariserGradient, ...] | None:
    """Gradients of one of Keras' regularisers, one for each of its parameters, as that is 1."""
    found = []
    for parameter in FAMILIES[name]:
        others = dict.fromkeys(FAMILIES[name], 0.0)
        made = getattr(keras.regularizers, name)(**others | {parameter: 1.0})
        pattern = regulariser_pattern(made, value)
        if pattern is None:
            return None
        found.append(RegulariserGradient(pattern))
    return tuple(found)
