"""What TensorFlow defines of an op: its outputs, and whether it is stateful, commutes or draws."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

# The op definitions, for which TensorFlow has no public registry: what an op's outputs are called,
# how many there are and of what dtype. tests/verify/graphs/test_networkx_form.py notices if it
# moves.
from tensorflow.python.framework import op_def_registry


def op_definition(op: str) -> Any:
    """The ``OpDef`` of an op type; None for the name of a library function."""
    return op_def_registry.get(op)


@functools.cache
def draws(op: str) -> bool:
    """Whether ops of this type draw random numbers: from a seed, or from a counter and a key."""
    op_def = op_definition(op)
    if op_def is None:
        return False
    inputs = {argument.name for argument in op_def.input_arg}
    seeded = op_def.is_stateful and "seed" in {attr.name for attr in op_def.attr}
    return seeded or "seed" in inputs or {"key", "counter"} <= inputs


@functools.cache
def seed_inputs(op: str) -> tuple[int, ...]:
    """The positions of the inputs that decide which random numbers an op draws."""
    op_def = op_definition(op)
    inputs = () if op_def is None else op_def.input_arg
    return tuple(i for i, one in enumerate(inputs) if one.name in ("seed", "key", "counter"))


@functools.cache
def is_stateful(op: str) -> bool:
    op_def = op_definition(op)
    return op_def is not None and bool(op_def.is_stateful)


@functools.cache
def is_commutative(op: str) -> bool:
    op_def = op_definition(op)
    return op_def is not None and bool(op_def.is_commutative)


def shape_of(proto: Any) -> tuple[int | None, ...] | None:
    if proto.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in proto.dim)


@functools.cache
def _dtype_name(enum: int) -> str:
    return str(tf.as_dtype(enum).name)


@functools.cache
def _output_arguments(op: str) -> tuple[tuple[str, str, str, str, int], ...]:
    """Per output of an op: name, and where its number and dtype are written."""
    op_def = op_definition(op)
    if op_def is None:  # a direct call of a library function: outputs are named by the signature
        return ()
    return tuple(
        (a.name, a.number_attr, a.type_list_attr, a.type_attr, a.type) for a in op_def.output_arg
    )


def output_sizes(definition: Any) -> dict[str, int]:
    """How many outputs there are by each of an op's names for them."""
    return {a[0]: _size(a, definition.attr) for a in _output_arguments(definition.op)}


def output_offsets(definition: Any) -> dict[str, int]:
    """Where each named output of an op begins among all of its outputs."""
    offsets, position = {}, 0
    for argument in _output_arguments(definition.op):
        offsets[argument[0]] = position
        position += _size(argument, definition.attr)
    return offsets


def output_dtypes(definition: Any) -> list[str]:
    names: list[str] = []
    for argument in _output_arguments(definition.op):
        _, _, type_list, type_attr, enum = argument
        if type_list:
            names.extend(_dtype_name(one) for one in definition.attr[type_list].list.type)
            continue
        name = _dtype_name(definition.attr[type_attr].type if type_attr else enum)
        names.extend([name] * _size(argument, definition.attr))
    return names


def _size(argument: tuple[str, str, str, str, int], attrs: Any) -> int:
    _, number, type_list, _, _ = argument
    if number:
        return int(attrs[number].i)
    return len(attrs[type_list].list.type) if type_list else 1
