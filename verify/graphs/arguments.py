"""What a step is handed, and which of it is x, y and sample_weight: read off its signature."""

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


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What a step is handed.

    `positional`, `by_name`: specs in their structure; what is no tensor, as it was when the step
    was traced. `tensors`: those in which they come, in the order of ``tf.nest.flatten``, where a
    ragged or sparse one is several; None where one has been cut off with a branch. `again`: the
    graph of the step's function traced on them once more, if it has been; a step's branches share
    it.
    """

    positional: tuple[Any, ...]
    by_name: Mapping[str, Any]
    tensors: tuple[Tensor | None, ...]
    again: list[FlatGraph] = dataclasses.field(default_factory=list, compare=False, repr=False)

    @property
    def specs(self) -> tuple[Any, ...]:
        """The spec of each of `tensors`."""
        leaves = tf.nest.flatten((self.positional, dict(self.by_name)), expand_composites=True)
        return tuple(leaf for leaf in leaves if isinstance(leaf, tf.TypeSpec))


def arguments_of(signature: Any, flat: FlatGraph) -> Arguments | None:
    """The arguments of a step, or the batch that it takes out of an iterator.

    None where the signature is not known, and where the step takes out several batches.
    """
    if signature is None:
        return None
    positional, by_name = list(signature[0]), dict(signature[1])
    tensors: list[Tensor] = [(index, 0) for index in flat.arguments]
    element = _element(positional[0]) if len(positional) == 1 else None
    if element is not None:
        positional = [element]
        size = len(tf.nest.flatten(element, expand_composites=True))
        taken = [n for n in flat.nodes if n.op in _BATCHES and len(n.dtypes) == size]
        if len(taken) != 1:
            return None
        tensors = [(taken[0].index, output) for output in range(size)]
    found = Arguments((*positional,), by_name, (*tensors,))
    return found if len(found.specs) == len(tensors) else None


def has_tensors(part: Any) -> bool:
    """Whether any part of an argument is a tensor, going by its specs."""
    return any(isinstance(leaf, tf.TypeSpec) for leaf in tf.nest.flatten(part))


def _element(spec: Any) -> Any:
    """The specs of what an iterator gives, None of what is no iterator.

    The signature of a traced function keeps the spec of an iterator, which has no public access to
    that of its elements; tests/verify/graphs/test_targets.py notices if it moves.
    """
    return getattr(spec, "_element_spec", None)


def roles_of(signature: Any, flat: FlatGraph) -> Roles | None:
    """The roles of a step whose arguments are (x[, y[, sample_weight]]), a tuple or an iterator.

    Args:
        signature: ``structured_input_signature``: (positional, by name), or None.
        flat: the step's graph.
    """
    if signature is None or signature[1]:
        return None
    # Models, optimizers, variables have no role.
    positional = [part for part in signature[0] if has_tensors(part)]
    if len(positional) == 1:
        if (element := _element(positional[0])) is not None:
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
