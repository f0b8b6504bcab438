"""What a random op is fed instead of its draw: numbers that it could have drawn, in its shape.

Uniform numbers lie where the op draws them, normal ones have a deviation of one, and what is
shuffled keeps its rows: else formulas meet values that no step ever does, where two spellings
of the same one differ (a crossentropy of probabilities that are one, the logarithm of less than
nothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import Node
from verify.match import Domain, NoValueError, concrete, drawn

_DOMAINS = {
    "RandomUniform": Domain.UNIT,
    "RandomStandardNormal": Domain.REAL,
    "TruncatedNormal": Domain.REAL,
    "RandomGamma": Domain.POSITIVE,
}
_COUNTS = 7  # what a random count is below
_OF_PARAMETERS = {"RandomGamma", "RandomPoissonV2"}  # one number for each parameter, in a shape


def shape_drawn(node: Node, inputs: Sequence[Any]) -> tuple[int, ...] | None:
    """The shape in which an op draws, from what it is handed; None if that does not say."""
    if not inputs:
        return None
    first = inputs[0]
    if node.op == "RandomShuffle":
        return (*first.shape,)
    if node.op == "Multinomial":
        return (int(first.shape[0]), int(inputs[1]))
    if not first.dtype.is_integer or first.shape.rank != 1:
        return None
    shape = tuple(int(size) for size in first)
    return (*shape, *inputs[1].shape) if node.op in _OF_PARAMETERS else shape


def numbers_drawn(node: Node, inputs: Sequence[Any], draw: int, key: str) -> list[Any]:
    """What each output of an op is in one draw, where `key` tells it from other ops.

    Raises:
        NoValueError: its shape is not known, or there are no draws of its dtype.
    """
    handed = shape_drawn(node, inputs)
    found = []
    for output, (static, dtype) in enumerate(zip(node.shapes, node.dtypes, strict=True)):
        shape = handed if static is None or None in static else concrete(static, 0)
        if shape is None:
            raise NoValueError("numbers are drawn in a shape that is not known")
        found.append(_one(node, inputs, (shape, dtype), f"{key}:{output}:{draw}"))
    return found


def _one(
    node: Node, inputs: Sequence[Any], spec: tuple[tuple[int | None, ...], str], key: str
) -> Any:
    shape, dtype = spec
    if node.op == "RandomShuffle":
        places = drawn(((shape[0] or 0,) if shape else (), "float64"), Domain.REAL, 0, key)
        return tf.gather(inputs[0], np.argsort(places)) if shape else inputs[0]
    if node.op == "RandomUniformInt":
        least, beyond = int(inputs[1]), int(inputs[2])
        spread = max(beyond - least, 1)
        numbers = drawn((shape, "int64"), Domain.CLASSES, 0, key, spread)
        return tf.constant(least + numbers, dtype)
    if node.op == "Multinomial":
        return tf.constant(drawn(spec, Domain.CLASSES, 0, key, int(inputs[0].shape[-1])))
    if node.op == "RandomPoissonV2":
        return tf.constant(drawn(spec, Domain.CLASSES, 0, key, _COUNTS))
    if tf.as_dtype(dtype).is_floating:
        return tf.constant(drawn(spec, _DOMAINS.get(node.op, Domain.REAL), 0, key))
    if tf.as_dtype(dtype).is_integer or dtype == "bool":
        return tf.constant(drawn(spec, Domain.CLASSES, 0, key))
    raise NoValueError(f"there are no draws of {dtype}")
