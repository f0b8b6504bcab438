"""Which variable is behind a handle: by identity where Python has it, else by what the graph says.

A variable mirrored over replicas is one variable: its components share a key and a path and tell
apart by `replica`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from verify.graphs.flat_graph import FlatGraph, Node, VariableRef
from verify.printable import printable

# What a graph calls a variable's handle, when it is not handed one from outside.
_HANDLES = {"VarHandleOp"}
_ARGUMENTS = {"Placeholder", "_Arg"}

Owners = Mapping[int, tuple[int, str, int]]
"""Per id of a handle: key and path of the variable it is a component of, and which component."""


def resource(variable: Any) -> Any:
    """The ``tf.Variable`` behind a Keras variable; any other as it is."""
    value = getattr(variable, "value", variable)
    return variable if callable(value) else value


def key_of(variable: Any) -> int:
    """What identifies a variable across graphs of one process."""
    return id(resource(variable).handle)


def path_of(variable: Any) -> str:
    """A Keras variable's ``path``; a ``tf.Variable``'s name; printable."""
    return printable(str(getattr(variable, "path", None) or variable.name.rsplit(":", 1)[0]))


def components(variables: Iterable[Any], strategy: Any) -> Owners:
    """The components of variables mirrored over the replicas of `strategy`."""
    owners: dict[int, tuple[int, str, int]] = {}
    for variable in variables:
        parts = strategy.experimental_local_results(resource(variable))
        if len(parts) > 1:
            for replica, part in enumerate(parts):
                owners[id(part.handle)] = key_of(parts[0]), path_of(variable), replica
    return owners


def with_paths(flat: FlatGraph, variables: Iterable[Any]) -> FlatGraph:
    """The same graph, with Keras' paths for the variables of a known model, by identity."""
    paths: dict[int | str, str] = {
        key_of(v): path for v in variables if (path := getattr(v, "path", None))
    }
    if all(paths.get(v.key, v.path) == v.path for v in flat.variables.values()):
        return flat
    keys: dict[str, list[int | str]] = {}
    found: dict[int, VariableRef] = {}
    for index, variable in flat.variables.items():
        path = paths.get(variable.key, re.sub(r"#\d+$", "", variable.path))
        same = keys.setdefault(path, [])
        if variable.key not in same:
            same.append(variable.key)
        number = same.index(variable.key) + 1
        told = path if number == 1 else f"{path}#{number}"
        found[index] = dataclasses.replace(variable, path=told)
    # The same names, the same graph: what is known of it serves again.
    names = [(index, variable.path) for index, variable in found.items()]
    return flat.remembered("paths", names, lambda: dataclasses.replace(flat, variables=found))


def weights_of(model: Any, flat: FlatGraph) -> tuple[VariableRef, ...]:
    """The weights of a known model, whether the graph uses them or not.

    `trainable` is what they were made to be: a layer that is frozen does not change it.
    """
    used = {variable.key: variable for variable in flat.variables.values()}
    taken = {variable.path for variable in used.values()}
    found: list[VariableRef] = []
    for weight in model.weights:
        key, variable = key_of(weight), resource(weight)
        path, number = path_of(weight), 1
        while key not in used and path in taken:
            number += 1
            path = f"{path_of(weight)}#{number}"
        taken.add(path)
        shape, dtype = tuple(variable.shape), variable.dtype.name
        own = VariableRef(key, path, shape, dtype, bool(variable.trainable))
        found.append(used.get(key, own))
    return tuple(found)


def captured_variables(
    graph: Any, captured: Mapping[int, Any], owners: Owners
) -> dict[int, VariableRef]:
    """Which captured handle is which variable, by identity of the handle.

    `captured`: what a node of the graph stands for, outside.
    """
    known = {id(variable.handle): variable for variable in graph.variables}
    found: dict[int, VariableRef] = {}
    seen: dict[str, set[int]] = {}
    for index, tensor in captured.items():
        variable = known.get(id(tensor))
        if variable is None or index < 0:
            continue
        key, path, replica = owners.get(id(tensor), (id(tensor), path_of(variable), 0))
        same = seen.setdefault(path, set())
        same.add(key)
        found[index] = VariableRef(
            key=key,
            path=path if len(same) == 1 else f"{path}#{len(same)}",
            shape=tuple(variable.shape),
            dtype=variable.dtype.name,
            trainable=bool(variable.trainable),
            replica=replica,
        )
    return found


def numbers_of(variables: Iterable[Any]) -> dict[int | str, float]:
    """What those of variables that are scalars hold now, by key."""
    found: dict[int | str, float] = {}
    with tf.init_scope():
        for variable in variables:
            own = resource(variable)
            real = own.shape == () and (own.dtype.is_floating or own.dtype.is_integer)
            # A variable is one of a replica as well: which one, a graph of replicas does not say.
            if real and own.is_initialized():
                found[id(own.handle)] = float(own.numpy())
    return found


def declared_variables(flat: FlatGraph) -> dict[int, VariableRef]:
    """The variables of a graph that came without its Python objects.

    A handle made in the graph is named by its ``shared_name`` and one passed to it by the argument;
    shape and dtype are those of its handle or, where that does not say, of what is read from it.
    Whether one is trained, no graph says: none is `trainable` here.
    """
    found: dict[int, VariableRef] = {}
    for node in flat.nodes:
        if node.path or node.dtypes[:1] != ["resource"]:
            continue
        if node.op in _HANDLES:
            own = node.attrs.get("shared_name")
            name = "" if own is None else own.s.decode("utf-8", "backslashreplace")
            name = name or node.name
            shape: tuple[int | None, ...] | None = _shape(node.attrs["shape"].shape)
            dtype = tf.as_dtype(node.attrs["dtype"].type).name
        elif node.op in _ARGUMENTS:
            name, shape, dtype = node.name, None, ""
        else:
            continue
        found[node.index] = VariableRef(name, printable(name), shape or (), dtype, trainable=False)
    flat.variables = found
    accessed = {variable.key: node for node, variable in flat.reads()}
    return {
        index: _as_read(variable, accessed[variable.key])
        for index, variable in found.items()
        # A resource that is never read may be an iterator or a table; written only, a counter.
        if variable.key in accessed or flat.nodes[index].op in _HANDLES
    }


def _as_read(variable: VariableRef, read: Node) -> VariableRef:
    if variable.dtype or read.op != "ReadVariableOp":
        return variable
    return dataclasses.replace(
        variable, shape=(read.shapes[0] if read.shapes else None) or (), dtype=read.dtypes[0]
    )


def _shape(proto: Any) -> tuple[int | None, ...]:
    if proto.unknown_rank:
        return ()
    return tuple(None if dim.size < 0 else int(dim.size) for dim in proto.dim)
