"""References: the graphs of expected objects, made by tracing the objects themselves.

Nothing here knows how a mean squared error or an L2 regulariser looks as ops. A reference is what
TensorFlow traces for the expected object and for its gradient, on the specs found in the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import FlatGraph, Spec, flatten, flatten_definition
from verify.match import Pattern

# What tracing an expected object on specs it was not made for may raise: it does not apply there.
MISFIT = (
    *(ValueError, TypeError, IndexError, tf.errors.InvalidArgumentError),
    NotImplementedError,  # of variables whose values Keras 3.8 would show in an error's text
    tf.errors.AbortedError,  # oneDNN's softmax of a number without dimensions
)

_EQUAL = 1e-6  # constants in one precision


def trace(function: Callable[..., Any], specs: Sequence[Spec]) -> FlatGraph:
    """The flat graph of `function` traced on `specs`; its outputs are the non-None results."""
    signature = [tf.TensorSpec(shape, dtype) for shape, dtype in specs]
    concrete = tf.function(function, autograph=False).get_concrete_function(*signature)
    return flatten(concrete)


def trace_alone(function: Callable[..., Any], specs: Sequence[Spec]) -> FlatGraph:
    """The same of one that takes nothing from outside, in less than half the time."""
    with tf.Graph().as_default() as graph:
        arguments = [tf.compat.v1.placeholder(dtype, shape) for shape, dtype in specs]
        results = [one for one in tf.nest.flatten(function(*arguments), True) if one is not None]
    flat = flatten_definition(graph.as_graph_def(add_shapes=True), "reference")
    place = {node.name: node.index for node in flat.nodes if not node.path}
    flat.arguments = [place[tensor.op.name] for tensor in arguments]
    flat.outputs = [flat.through((place[one.op.name], one.value_index)) for one in results]
    return flat


def pattern(
    function: Callable[..., Any],
    specs: Sequence[Spec],
    roles: Sequence[str],
    free: Mapping[str, float] | None = None,
) -> Pattern | None:
    """A pattern of the first result of `function`; its other results must be present as well.

    None where no result is more than a wildcard.
    """
    flat = trace(function, specs)
    leaves = dict(zip(flat.arguments, roles, strict=True))
    roots = tuple(root for root in flat.outputs if root[0] not in leaves)
    constants: dict[int, str] = {}
    for node in flat.nodes if free else ():
        value = flat.constant((node.index, 0))
        if value is None or value.shape != () or not tf.as_dtype(value.dtype).is_floating:
            continue
        for name, stand_in in (free or {}).items():
            if abs(float(value) - float(np.asarray(stand_in, value.dtype))) < _EQUAL:
                constants[node.index] = name
    return Pattern(flat, roots[:1], leaves, constants, present=roots[1:]) if roots else None


def format_call(name: str, settings: Mapping[str, Any]) -> str:
    shown = ", ".join(
        f"{key}={float(value):.6g}" for key, value in settings.items() if isinstance(value, float)
    )
    return f"{name}({shown})"
