"""Values of tensors that depend on constants alone, computed by TensorFlow itself."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs.flat_graph import FlatGraph, Node, Tensor
from verify.graphs.op_definitions import op_definition

# What TensorFlow raises of an op that can't be computed.
REFUSED = (tf.errors.OpError, ValueError, TypeError, OverflowError)
_MAX_ELEMENTS = 1 << 16  # folding is for scalars and shapes, not for weights


NARROW = (tf.float16, tf.bfloat16, tf.float32)


def attr_value(value: Any, wide: bool = False) -> Any:
    """A plain Python value for an ``AttrValue`` (None for kinds that raw ops do not take).

    `wide`: float64 for every real dtype.
    """
    kind = value.WhichOneof("value")
    if kind == "type":
        dtype = tf.as_dtype(value.type)
        return tf.float64 if wide and dtype in NARROW else dtype
    if kind == "s":
        return value.s
    if kind in ("i", "f", "b"):
        return getattr(value, kind)
    if kind == "shape":
        return tf.TensorShape(value.shape)
    if kind == "list":
        for field in ("s", "i", "f", "b"):
            if len(getattr(value.list, field)):
                return list(getattr(value.list, field))
        if len(value.list.type):
            dtypes = [tf.as_dtype(enum) for enum in value.list.type]
            return [tf.float64 if wide and dtype in NARROW else dtype for dtype in dtypes]
        return []
    return None


@functools.cache
def _calling(op: str) -> _Calling | None:
    """How an op is called from Python; None where TensorFlow offers no raw op."""
    raw, op_def = getattr(tf.raw_ops, op, None), op_definition(op)
    if raw is None or op_def is None:
        return None
    parameters = list(inspect.signature(raw).parameters)
    # The Python wrapper renames a few inputs (Prod's reduction_indices is its axis).
    known = {argument.name for argument in op_def.input_arg} | {a.name for a in op_def.attr}
    renamed = [name for name in parameters if name not in known and name != "name"]
    inputs = tuple(
        (
            argument.name if argument.name in parameters else renamed.pop(0),
            argument.number_attr,
            argument.type_list_attr,
        )
        for argument in op_def.input_arg
    )
    taken = {name for name, _, _ in inputs}
    return _Calling(raw, inputs, tuple(name for name in parameters if name not in taken))


@dataclasses.dataclass(frozen=True)
class _Calling:
    """A raw op; per input its parameter, and which attribute says how many tensors it takes."""

    raw: Any
    inputs: tuple[tuple[str, str, str], ...]
    others: tuple[str, ...]


def call_op(node: Node, inputs: Sequence[Any], wide: bool = False) -> list[Any] | None:
    """Runs (or traces) `node`'s op on other inputs; None where TensorFlow offers no raw op.

    `wide`: the inputs are of float64 wherever they were of another real dtype.
    """
    calling = _calling(node.op)
    if calling is None:
        return None
    arguments: dict[str, Any] = {}
    remaining = list(inputs)
    for name, number, types in calling.inputs:
        if number:
            size = int(node.attrs[number].i)
        elif types:
            size = len(node.attrs[types].list.type)
        else:
            arguments[name] = remaining.pop(0)
            continue
        arguments[name], remaining = remaining[:size], remaining[size:]
    for name in calling.others:
        if name in node.attrs:
            arguments[name] = attr_value(node.attrs[name], wide)
    result = calling.raw(**arguments)
    if isinstance(result, tf.Operation) or result is None:
        return None
    if isinstance(result, tf.Tensor):
        return [result]
    return list(tf.nest.flatten(list(result)))


class Folder:
    """Folds constants of one graph, remembering what it has seen."""

    def __init__(self, flat: FlatGraph) -> None:
        self.flat = flat
        self._known: dict[int, list[np.ndarray[Any, Any]] | None] = {}

    def assume(self, index: int, value: np.ndarray[Any, Any]) -> None:
        """Takes a node's only output to have this value, e.g. what is read from a variable."""
        self._known[index] = [value]

    def value(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        """The tensor's value where only constants decide it, else None."""
        index, output = self.flat.through(tensor)
        if index not in self._known:
            self._fold(index)
        values = self._known[index]
        return None if values is None or output >= len(values) else values[output]

    def _fold(self, root: int) -> None:
        stack = [root]
        while stack:
            index = stack[-1]
            if index in self._known:
                stack.pop()
                continue
            node = self.flat.nodes[index]
            if not self._foldable(node):
                self._known[index] = None
                continue
            pending = [source for source, _ in node.data if source not in self._known]
            if pending:
                stack.extend(pending)
                continue
            self._known[index] = self._evaluate(node)

    def _foldable(self, node: Node) -> bool:
        if node.op == "Const":
            return True
        op_def = op_definition(node.op)
        if op_def is None or op_def.is_stateful or not node.data or node.op.startswith("Stateless"):
            return False
        if not {"resource", "variant"}.isdisjoint(node.dtypes):
            return False
        return bool(node.shapes) and all(
            shape is not None
            and math.prod(_MAX_ELEMENTS + 1 if n is None else n for n in shape) <= _MAX_ELEMENTS
            for shape in node.shapes
        )

    def _evaluate(self, node: Node) -> list[np.ndarray[Any, Any]] | None:
        constant = self.flat.constant((node.index, 0))
        if constant is not None:
            return [constant]
        inputs: list[np.ndarray[Any, Any]] = []
        for source, output in node.data:
            values = self._known[source]
            if values is None or output >= len(values):
                return None
            inputs.append(values[output])
        if self.flat.foreign and not self._stays_small(node, inputs):
            return None
        try:
            with tf.init_scope(), tf.device("CPU:0"):
                results = call_op(node, [tf.constant(value) for value in inputs])
        except REFUSED:  # as a division by zero is
            return None
        return None if results is None else [result.numpy() for result in results]

    def _stays_small(self, node: Node, inputs: list[np.ndarray[Any, Any]]) -> bool:
        """Whether an op's results are small, by TensorFlow's shapes: a file's may be untrue."""
        try:
            with tf.Graph().as_default():
                results = call_op(node, [tf.constant(value) for value in inputs]) or []
        except REFUSED:
            return False
        sizes = [result.shape.num_elements() for result in results]
        return all(size is not None and size <= _MAX_ELEMENTS for size in sizes)
