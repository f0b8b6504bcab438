"""References of the gradients of single ops, which tell where a backward pass begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import Node, Spec, call_op
from verify.match import Pattern
from verify.references.tracing import MISFIT, trace_alone

_MOST_KNOWN = 4096  # gradients of single ops kept in memory


@dataclasses.dataclass(frozen=True)
class Operand:
    """An input of an op: its spec and, where only constants decide it, its value."""

    spec: Spec
    value: bytes | None

    def tensor(self) -> Any:
        shape, dtype = self.spec
        sizes = [int(size or 0) for size in shape or ()]
        return tf.constant(np.frombuffer(self.value or b"", dtype).reshape(sizes))


class VjpReferences:
    """Gradients of single ops, traced through TensorFlow's own gradient functions."""

    def __init__(self) -> None:
        self._known: dict[Any, list[tuple[int, Pattern | None]]] = {}

    def key(self, node: Node, output: int, operands: Sequence[Operand]) -> Any:
        """Equal for ops whose gradients differ in nothing but the tensors that they take."""
        return node.op, output, id(node.settings), tuple(operands)

    def of(
        self, node: Node, output: int, operands: Sequence[Operand]
    ) -> list[tuple[int, Pattern | None]]:
        """(input position, pattern of its gradient); None where the upstream passes unchanged."""
        key = self.key(node, output, operands)
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._trace(node, output, operands)
        return self._known[key]

    def _trace(
        self, node: Node, output: int, operands: Sequence[Operand]
    ) -> list[tuple[int, Pattern | None]]:
        free = [i for i, operand in enumerate(operands) if operand.value is None]
        specs = [*(operands[i].spec for i in free), (node.shapes[output], node.dtypes[output])]
        roles = [*(f"input {i}" for i in free), "upstream"]
        found: list[tuple[int, Pattern | None]] = []
        for position in free:
            if not tf.as_dtype(operands[position].spec[1]).is_floating:
                continue

            def gradient(*arguments: Any, position: int = position) -> Any:
                *given, upstream = arguments
                values: list[Any] = [
                    None if operand.value is None else operand.tensor() for operand in operands
                ]
                for i, value in zip(free, given, strict=True):
                    values[i] = value
                with tf.GradientTape() as tape:
                    tape.watch(values[position])
                    results = call_op(node, values)
                if results is None:
                    raise ValueError(f"{node.op} can't be called on its own")
                return tape.gradient(results[output], values[position], output_gradients=upstream)

            try:
                flat = trace_alone(gradient, specs)
            except (*MISFIT, LookupError):
                continue
            if not flat.outputs:
                continue
            leaves = dict(zip(flat.arguments, roles, strict=True))
            root = flat.outputs[0]
            if root[0] not in leaves:
                found.append((position, Pattern(flat, (root,), leaves)))
            elif leaves[root[0]] == "upstream":
                found.append((position, None))
        return found
