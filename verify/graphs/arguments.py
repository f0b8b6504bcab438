"""Which tensors of a step carry x, y and sample_weight: read off its signature."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from verify.graphs.flat_graph import FlatGraph, Tensor

# What takes the next batch out of an iterator: a step may do that once or in each turn of a loop.
_BATCHES = {"IteratorGetNext", "IteratorGetNextSync", "OptionalGetValue"}


@dataclasses.dataclass(frozen=True)
class Roles:
    """`x`: the spec of the model's input. `targets`, `weights`: tensors of y and sample_weight."""

    x: Any
    targets: frozenset[Tensor]
    weights: frozenset[Tensor]


def roles_of(signature: Any, flat: FlatGraph) -> Roles | None:
    """The roles of a step whose arguments are (x, y[, sample_weight]), one tuple or an iterator.

    Args:
        signature: ``structured_input_signature``: (positional, by name), or None.
        flat: the step's graph.
    """
    if signature is None or signature[1]:
        return None
    positional = list(signature[0])
    if positional and not isinstance(positional[0], tf.TypeSpec | tuple | list | dict):
        positional = positional[1:]  # a bound `self`
    if len(positional) == 1:
        # The signature of a traced function keeps the spec of an iterator, which has no public
        # access to that of its elements; tests/verify/graphs/test_targets.py notices if it moves.
        element = getattr(positional[0], "_element_spec", None)
        if element is not None:
            return _of_batches(element, flat)
        if isinstance(positional[0], tuple | list):
            positional = list(positional[0])
    if not 2 <= len(positional) <= 3:
        return None
    left: list[Tensor] = [(index, 0) for index in flat.arguments]
    parts: list[frozenset[Tensor]] = []
    for part in positional:
        size = sum(isinstance(leaf, tf.TensorSpec) for leaf in tf.nest.flatten(part))
        parts.append(frozenset(left[:size]))
        left = left[size:]
    if left:
        return None
    return Roles(positional[0], parts[1], frozenset[Tensor]().union(*parts[2:]))


def _of_batches(element: Any, flat: FlatGraph) -> Roles | None:
    """The same where each batch is taken out of an iterator within the step."""
    if not isinstance(element, tuple | list) or not 2 <= len(element) <= 3:
        return None
    # Among replicas each has specs of its own; an op that takes one batch out has as many outputs
    # as one of them, or as all.
    replicas = max(len(_replicas(leaf)) for leaf in tf.nest.flatten(list(element)))
    sizes = [len(tf.nest.flatten(part)) for part in element]
    whole = sum(sizes)
    targets: set[Tensor] = set()
    weights: set[Tensor] = set()
    for node in flat.nodes:
        if node.op not in _BATCHES or len(node.dtypes) not in (whole, whole * replicas):
            continue
        width = len(node.dtypes) // whole
        first, last = sizes[0] * width, (sizes[0] + sizes[1]) * width
        targets.update((node.index, output) for output in range(first, last))
        weights.update((node.index, output) for output in range(last, whole * width))
    x = tf.nest.map_structure(lambda leaf: _replicas(leaf)[0], element[0])
    return Roles(x, frozenset(targets), frozenset(weights)) if targets else None


def _replicas(spec: Any) -> list[Any]:
    """The spec of each replica's part of a batch."""
    return list(tf.nest.flatten(spec, expand_composites=True))
