"""Variables that a step is handed as arguments, instead of finding them at hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from verify.graphs.flat_graph import FlatGraph, VariableRef
from verify.graphs.variables import key_of, path_of
from verify.printable import printable


def with_handed(flat: FlatGraph, signature: Any, handed: Sequence[Any]) -> tuple[FlatGraph, Any]:
    """A graph that knows variables as such, not as arguments; and a signature of what was handed.

    Args:
        signature: ``structured_input_signature``: (positional, by name), or None. In place of what
            is no spec of a tensor, the object itself is put; None for a variable that is not known.
        handed: what the step was traced on, as far as it is known, in the order of the signature.
    """
    if signature is None:
        return flat, None
    signature = _with_objects(signature, handed)
    leaves = tf.nest.flatten(signature, expand_composites=True)
    specs = [leaf for leaf in leaves if isinstance(leaf, tf.TypeSpec)]
    of_variables = [spec for spec in specs if _is_variable(spec)]
    if not of_variables:
        return flat, signature
    given = [one for one in handed if isinstance(one, tf.Variable)]
    if len(given) != len(of_variables):
        given = []
    places, arguments, known = iter(flat.arguments), list[int](), dict[int, int]()
    for spec in specs:
        if not _is_variable(spec):
            arguments.append(next(places))
        elif spec.alias_id not in known:  # what is handed twice comes once
            known[spec.alias_id] = next(places)
    variables = {**flat.variables, **dict(_own(flat, of_variables, known, given))}
    left = iter(given)

    def put(leaf: Any) -> Any:
        return next(left, None) if _is_variable(leaf) else leaf

    placed = tf.nest.map_structure(put, signature)
    return dataclasses.replace(flat, variables=variables, arguments=arguments), placed


def _with_objects(signature: Any, handed: Sequence[Any]) -> Any:
    """A signature that says which objects these are, and has no bound `self`."""
    leaves = tf.nest.flatten(signature)
    if len(leaves) == len(handed):
        every = [
            leaf if isinstance(leaf, tf.TypeSpec) else one
            for leaf, one in zip(leaves, handed, strict=True)
        ]
        return tf.nest.pack_sequence_as(signature, every)
    positional, by_name = signature
    # Some versions of TensorFlow have the object that a method is bound to.
    if positional and not isinstance(positional[0], tf.TypeSpec | tuple | list | dict):
        positional = positional[1:]
    return positional, by_name


def _own(
    flat: FlatGraph, specs: Sequence[Any], known: Mapping[int, int], given: Sequence[Any]
) -> Iterator[tuple[int, VariableRef]]:
    """Each variable once, at the node that its handle comes in by."""
    taken = {variable.path for variable in flat.variables.values()}
    for alias, index in known.items():
        place, spec = next((i, spec) for i, spec in enumerate(specs) if spec.alias_id == alias)
        name = printable(flat.nodes[index].name)
        key: int | str = f"argument {name}"
        trainable = spec.trainable
        if given:
            own = given[place]
            key, name, trainable = key_of(own), path_of(own), own.trainable
        number, path = 1, name
        while path in taken:
            number += 1
            path = f"{name}#{number}"
        taken.add(path)
        shape = tuple(spec.shape) if spec.shape.rank is not None else ()
        yield index, VariableRef(key, path, shape, spec.dtype.name, bool(trainable))


def _is_variable(leaf: Any) -> bool:
    """Whether this is the spec of a variable: its class has no public name.

    tests/verify/graphs/test_handed.py notices if it moves.
    """
    return isinstance(leaf, tf.TypeSpec) and hasattr(leaf, "alias_id")
