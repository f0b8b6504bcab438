"""Graphs that were made before: objects of TensorFlow, SavedModels, files with a definition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from verify.graphs.batches import concrete_of
from verify.graphs.border import check_definition
from verify.graphs.inlining import check_size
from verify.graphs.traced import Traced
from verify.printable import printable_text


def of_graph(graph: Any) -> Traced:
    if hasattr(graph, "external_captures"):
        return Traced(graph.name, graph=graph, owner=graph)
    return Traced("graph", definition=graph.as_graph_def(add_shapes=True), owner=graph)


def from_path(path: Path, args: Sequence[Any], signature: str | None) -> Traced:
    if (path / "saved_model.pb").exists():
        return _from_saved_model(path, args, signature)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is neither a SavedModel's directory nor a GraphDef file")
    if path.name == "saved_model.pb":
        raise ValueError(f"{path} is part of a SavedModel: give its directory, {path.parent}")
    definition = _definition_in(path)
    if not definition.node:
        raise ValueError(f"{path} contains no ops: it is not a GraphDef, or an empty one")
    return Traced(path.name, definition=checked(definition, str(path)))


def _definition_in(path: Path) -> Any:
    from google.protobuf import message, text_format  # they come with TensorFlow

    definition = tf.compat.v1.GraphDef()
    try:
        if path.suffix == ".pbtxt":
            text_format.Parse(path.read_text("utf-8"), definition)
        else:
            definition.ParseFromString(path.read_bytes())
    except (message.DecodeError, text_format.ParseError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a GraphDef: {printable_text(str(error))}") from None
    return definition


def _from_saved_model(path: Path, args: Sequence[Any], signature: str | None) -> Traced:
    try:
        loaded = tf.saved_model.load(str(path))
    # Whatever TensorFlow raises of a file that it does not take.
    except Exception as error:
        raise _refused(str(path), error) from error
    functions: dict[str, Any] = dict(loaded.signatures)
    for name in dir(loaded):
        value = getattr(loaded, name, None) if not name.startswith("_") else None
        if name != "signatures" and hasattr(value, "get_concrete_function"):
            functions.setdefault(name, value)  # a signature of that name is the same function
    known = ", ".join(sorted(functions)) or "none"
    if signature is None:
        if len(functions) != 1:
            raise ValueError(f"{path} has several functions: choose one, signature=...: {known}")
        (signature,) = functions
    if signature not in functions:
        raise ValueError(f"{path} has no function {signature!r}: it has {known}")
    function, name = functions[signature], f"{path.name}.{signature}"
    concretes = getattr(function, "concrete_functions", [])
    if signature in loaded.signatures:
        concrete = function
    elif not args and len(concretes) == 1:
        (concrete,) = concretes
    else:
        concrete = concrete_of(function, args, name)
    definition = concrete.graph.as_graph_def(add_shapes=True)
    try:
        check_size(definition)
        check_definition(definition)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Traced(name, concrete, owner=loaded)


def checked(definition: Any, name: str) -> Any:
    """The same definition with its own shapes or, if it has none, those that TensorFlow infers.

    Raises:
        ValueError: it is no graph, by our own or by TensorFlow's checks.
    """
    try:
        check_size(definition)
        check_definition(definition)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    shaped = _imported(definition, name)
    return definition if _has_shapes(definition) else shaped


def _has_shapes(definition: Any) -> bool:
    return any("_output_shapes" in node.attr for node in definition.node)


def _imported(definition: Any, name: str) -> Any:
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.import_graph_def(definition, name="")
        return graph.as_graph_def(add_shapes=True)
    # Whatever TensorFlow and its ops' shape functions raise of a file that they don't take.
    except Exception as error:
        raise _refused(name, error) from error


def _refused(name: str, error: Exception) -> ValueError:
    told = printable_text(str(error).strip()) or "no message"
    return ValueError(f"{name}: TensorFlow refuses it: {type(error).__name__}: {told}")
