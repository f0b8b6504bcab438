"""References: the graphs of expected objects, made by tracing the objects themselves.

Nothing here knows how a mean squared error or an L2 regulariser looks as ops. A reference is what
TensorFlow traces for the expected object and for its gradient, on the specs found in the step.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from verify.flat import FlatGraph, Node
from verify.flatten import flatten
from verify.fold import call_op
from verify.match import Pattern

Spec = tuple[tuple[int | None, ...] | None, str]
"""Shape and dtype name of a tensor."""

# What tracing an expected object on specs it was not made for may raise: it does not apply there.
MISFIT = (ValueError, TypeError, IndexError, tf.errors.InvalidArgumentError)

_MOST_KNOWN = 4096  # gradients of single ops kept in memory

# Values no one writes by hand: they stand for parameters that may have any value.
_ANY = {"l1": 0.8414709848, "l2": 0.9092974268, "factor": 0.1411200080}


def trace(function: Callable[..., Any], specs: Sequence[Spec]) -> FlatGraph:
    """The flat graph of `function` traced on `specs`; its outputs are the non-None results."""
    signature = [tf.TensorSpec(shape, dtype) for shape, dtype in specs]
    concrete = tf.function(function, autograph=False).get_concrete_function(*signature)
    return flatten(concrete)


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
        if value is not None and value.shape == () and value.dtype.kind == "f":
            for name, stand_in in (free or {}).items():
                if abs(float(value) - stand_in) < 1e-6:
                    constants[node.index] = name
    return Pattern(flat, roots[:1], leaves, constants, present=roots[1:]) if roots else None


def regulariser_pattern(
    regulariser: Callable[[Any], Any], value: Spec, free: Mapping[str, float] | None = None
) -> Pattern | None:
    """The gradient of ``regulariser(v)`` by ``v``; constants in `free` may have any value."""

    def gradient(variable: Any, upstream: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(variable)
            loss = regulariser(variable)
        return tape.gradient(loss, variable, output_gradients=upstream)

    try:
        return pattern(gradient, [value, ((), value[1])], ["variable", "upstream"], free=free)
    except MISFIT:
        return None


@functools.cache
def regulariser_family(name: str, value: Spec) -> Pattern | None:
    """One of Keras' own regularisers with parameters that may have any value."""
    parameters = FAMILIES[name]
    free = {parameter: _ANY[parameter] for parameter in parameters}
    regulariser = getattr(keras.regularizers, name)(**free)
    return regulariser_pattern(regulariser, value, free)


FAMILIES = {
    "L1L2": ("l1", "l2"),
    "L1": ("l1",),
    "L2": ("l2",),
    "OrthogonalRegularizer": ("factor",),
}


def regulariser_name(regulariser: Any) -> str:
    """A regulariser as a person would write it, e.g. ``L2(l2=0.01)``."""
    if not isinstance(regulariser, keras.regularizers.Regularizer):
        return str(getattr(regulariser, "__name__", regulariser))
    settings = regulariser.get_config() if type(regulariser).__name__ in FAMILIES else {}
    return format_call(type(regulariser).__name__, settings)


def format_call(name: str, settings: Mapping[str, Any]) -> str:
    shown = ", ".join(
        f"{key}={float(value):.6g}" for key, value in settings.items() if isinstance(value, float)
    )
    return f"{name}({shown})"


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
                flat = trace(gradient, specs)
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
