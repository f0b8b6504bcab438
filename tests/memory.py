"""What TensorFlow keeps of graphs that nobody uses any more."""

from __future__ import annotations

from collections.abc import Iterable

# Private: there is no public way to forget a gradient. tests/test_memory.py notices a move.
from tensorflow.python.framework.ops import gradient_registry


def traced_gradients() -> set[str]:
    """Names of the gradients that traced ``tf.custom_gradient`` have, as layers of Keras use it.

    Each trace enters one, and the entry keeps the whole graph with its functions and variables.
    """
    return {name for name in gradient_registry.list() if name.startswith("CustomGradient-")}


def forget(names: Iterable[str]) -> None:
    """Takes gradients out of TensorFlow's registry, which only the graphs they come from ask."""
    for name in names:
        del gradient_registry._registry[name]
