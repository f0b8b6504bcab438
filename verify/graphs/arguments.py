"""Which tensors of a step carry x, y and sample_weight: read off its signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from verify.graphs.flat_graph import FlatGraph, Tensor

# What takes the next batch out of an iterator: a step may do that once or in each turn of a loop.
_BATCHES = {"IteratorGetNext", "IteratorGetNextSync", "OptionalGetValue"}


@dataclasses.dataclass(frozen=True)
class Roles:
    """`x`: the spec of the model's input. `targets`, `weights`: tensors of y and sample_weight.

    `inputs`: the tensors of x, where there is a y.

    Those are None where x is fed alone: targets may be made of it, or of anything.
    `target_of`: the targets by key or position, where there are several.
    """

    x: Any
    targets: frozenset[Tensor] | None
    weights: frozenset[Tensor] | None
    target_of: Mapping[str | int, frozenset[Tensor]] = dataclasses.field(default_factory=dict)
    inputs: frozenset[Tensor] = frozenset()


def roles_of(signature: Any, flat: FlatGraph) -> Roles | None:
    """The roles of a step whose arguments are (x[, y[, sample_weight]]), a tuple or an iterator.

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
    if len(positional) == 1:
        return Roles(positional[0], None, None)
    if not 2 <= len(positional) <= 3:
        return None
    left: list[Tensor] = [(index, 0) for index in flat.arguments]
    parts: list[list[Tensor]] = []
    for part in positional:
        leaves = tf.nest.flatten(part, expand_composites=True)  # of sparse and ragged ones as well
        size = sum(isinstance(leaf, tf.TensorSpec) for leaf in leaves)
        parts.append(left[:size])
        left = left[size:]
    if left:
        return None
    weights = frozenset[Tensor]().union(*parts[2:])
    by_output = _by_output(positional[1], [[tensor] for tensor in parts[1]])
    return Roles(positional[0], frozenset(parts[1]), weights, by_output, frozenset(parts[0]))


def _by_output(
    structure: Any, tensors: Sequence[Sequence[Tensor]]
) -> dict[str | int, frozenset[Tensor]]:
    """The tensors of each target, by key or position; none where there is one target alone."""
    if not isinstance(structure, Mapping | tuple | list):
        return {}
    if len(tf.nest.flatten(structure)) != len(tensors):
        return {}  # some are sparse or ragged, of several tensors each
    keys: Iterable[Any] = structure if isinstance(structure, Mapping) else range(len(structure))
    leaves = iter(tensors)
    packed = tf.nest.pack_sequence_as(structure, [_Leaf(next(leaves)) for _ in tensors])
    return {
        key: frozenset(t for leaf in tf.nest.flatten(packed[key]) for t in leaf.tensors)
        for key in keys
    }


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """The tensors of one leaf of a structure: one for each replica."""

    tensors: Sequence[Tensor]


def _of_batches(element: Any, flat: FlatGraph) -> Roles | None:
    """The same where each batch is taken out of an iterator within the step."""
    if not isinstance(element, tuple | list):
        element = (element,)
    if len(element) == 1:
        return Roles(tf.nest.map_structure(lambda leaf: _replicas(leaf)[0], element[0]), None, None)
    if not 2 <= len(element) <= 3:
        return None
    # Among replicas each has specs of its own; an op that takes one batch out has as many outputs
    # as one of them, or as all.
    replicas = max(len(_replicas(leaf)) for leaf in tf.nest.flatten(list(element)))
    sizes = [len(tf.nest.flatten(part)) for part in element]
    whole = sum(sizes)
    targets: list[list[Tensor]] = [[] for _ in range(sizes[1])]
    inputs, weights = set[Tensor](), set[Tensor]()
    for node in flat.nodes:
        if node.op not in _BATCHES or len(node.dtypes) not in (whole, whole * replicas):
            continue
        width = len(node.dtypes) // whole
        inputs.update((node.index, output) for output in range(sizes[0] * width))
        first, last = sizes[0] * width, (sizes[0] + sizes[1]) * width
        for output in range(first, last):
            targets[(output - first) // width].append((node.index, output))
        weights.update((node.index, output) for output in range(last, whole * width))
    x = tf.nest.map_structure(lambda leaf: _replicas(leaf)[0], element[0])
    every = frozenset(tensor for leaf in targets for tensor in leaf)
    by_output = _by_output(element[1], targets)
    if not every:
        return None
    return Roles(x, every, frozenset(weights), by_output, frozenset(inputs))


def _replicas(spec: Any) -> list[Any]:
    """The spec of each replica's part of a batch."""
    return list(tf.nest.flatten(spec, expand_composites=True))
