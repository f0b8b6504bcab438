"""References of regularisers of weights: one object's, or a Keras family's with any parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from verify.graphs import Spec
from verify.match import Pattern
from verify.references.tracing import MISFIT, format_call, pattern

# Values no one writes by hand: they stand for parameters that may have any value.
_ANY = {"l1": 0.8414709848, "l2": 0.9092974268, "factor": 0.1411200080}


def regulariser_pattern(
    regulariser: Callable[[Any], Any], value: Spec, free: Mapping[str, float] | None = None
) -> Pattern | None:
    """The gradient of ``regulariser(v)`` by ``v``; constants in `free` may have any value."""

    def gradient(variable: Any, upstream: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(variable)
            loss = regulariser(variable)
        return tape.gradient(loss, variable, output_gradients=upstream)

    try:
        return pattern(gradient, [value, ((), value[1])], ["variable", "upstream"], free=free)
    except MISFIT:
        return None


@functools.cache
def regulariser_family(name: str, value: Spec) -> Pattern | None:
    """One of Keras' own regularisers with parameters that may have any value."""
    parameters = FAMILIES[name]
    free = {parameter: _ANY[parameter] for parameter in parameters}
    regulariser = getattr(keras.regularizers, name)(**free)
    return regulariser_pattern(regulariser, value, free)


FAMILIES = {
    "L1L2": ("l1", "l2"),
    "L1": ("l1",),
    "L2": ("l2",),
    "OrthogonalRegularizer": ("factor",),
}


def regulariser_name(regulariser: Any) -> str:
    """A regulariser as a person would write it, e.g. ``L2(l2=0.01)``."""
    if not isinstance(regulariser, keras.regularizers.Regularizer):
        return str(getattr(regulariser, "__name__", regulariser))
    settings = regulariser.get_config() if type(regulariser).__name__ in FAMILIES else {}
    return format_call(type(regulariser).__name__, settings)
