"""Any target -> one concrete function, its flat graph and what its arguments mean."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from verify.flatten import flatten
from verify.graph import FlatGraph, VariableRef
from verify.model_reference import ModelReference

Region = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Step:
    """A captured step.

    `targets`, `weights`: argument nodes that carry ``y`` and ``sample_weight``, None if the
    arguments do not tell. `reference`: the model that the step trains, where known. `trainable`:
    keys of the variables that count as trainable, None to ask the variables.
    """

    name: str
    flat: FlatGraph
    targets: frozenset[int] | None = None
    weights: frozenset[int] | None = None
    reference: ModelReference | None = None

    @property
    def trainable(self) -> frozenset[int | str] | None:
        return None if self.reference is None else self.reference.trainable

    @property
    def variables(self) -> list[VariableRef]:
        return list(dict.fromkeys(self.flat.variables.values()))


def capture(
    target: Any,
    *args: Any,
    model: keras.Model | None = None,
    reference: ModelReference | None = None,
) -> Step:
    """Traces `target` on `args`.

    Args:
        target: a ``ConcreteFunction``; a ``tf.function`` (with `args`); a compiled
            ``keras.Model`` (its ``train_step``, with a batch).
        args: a batch as ``(x, y)`` or ``(x, y, sample_weight)``, in one tuple or one by one:
            tensors, arrays or ``tf.TensorSpec``.
        model: the model trained by the step, where known: its trainable variables and the
            regularisers it adds are then taken from it.
        reference: what has been traced from that model before, to be used again.

    Raises:
        TypeError: `target` is nothing that can be traced, or needs arguments that are missing.
    """
    if isinstance(target, keras.Model):
        if not target.compiled:
            raise TypeError(f"{target.name!r} is not compiled: there is no train step to verify")
        model = target
        concrete = _trace(tf.function(target.train_step, autograph=False), args, target.name)
        name = f"{target.name}.train_step"
    elif hasattr(target, "get_concrete_function"):
        name = str(getattr(target, "__name__", None) or getattr(target, "name", "step"))
        concrete = _trace(target, args, name)
    elif hasattr(target, "captured_inputs") and hasattr(target, "graph"):
        concrete, name = (
            target,
            target.name.decode() if isinstance(target.name, bytes) else target.name,
        )
    else:
        raise TypeError(
            f"can't verify {target!r}: expected a tf.function, a ConcreteFunction or a compiled "
            "keras.Model"
        )
    flat = flatten(concrete)
    x, targets, weights = _roles(concrete, flat)
    if reference is None and model is not None and x is not None:
        reference = ModelReference(model, x)
    return Step(name, flat, targets, weights, reference)


def _trace(function: Any, args: Sequence[Any], name: str) -> Any:
    if not args:
        raise TypeError(f"{name} has to be traced: give a batch, e.g. (x, y), or its TensorSpecs")
    batch: tuple[Any, ...] = tuple(tf.nest.map_structure(_as_traceable, list(args)))
    if len(batch) > 1 and _takes_one_argument(function):
        batch = (batch,)
    elif len(batch) == 1 and isinstance(batch[0], list):
        batch = (tuple(batch[0]),)
    return function.get_concrete_function(*batch)


def _as_traceable(value: Any) -> Any:
    if value is None or isinstance(value, tf.TensorSpec) or tf.is_tensor(value):
        return value
    return tf.convert_to_tensor(value)


def _takes_one_argument(function: Any) -> bool:
    plain = getattr(function, "python_function", function)
    try:
        parameters = list(inspect.signature(plain).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    several = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    named = [p for p in positional if p.name != "self"]
    return len(named) == 1 and not several


def _roles(
    concrete: Any, flat: FlatGraph
) -> tuple[Any, frozenset[int] | None, frozenset[int] | None]:
    """Which arguments are x, y and sample_weight, if the signature has that form."""
    signature = concrete.structured_input_signature
    if signature is None:
        return None, None, None
    positional = list(signature[0])
    if positional and not isinstance(positional[0], tf.TensorSpec | tuple | list | dict):
        positional = positional[1:]  # a bound `self`
    if len(positional) == 1 and isinstance(positional[0], tuple | list):
        positional = list(positional[0])
    if signature[1] or not 2 <= len(positional) <= 3:
        return None, None, None
    parts: list[frozenset[int]] = []
    left = list(flat.arguments)
    for part in positional:
        size = sum(isinstance(leaf, tf.TensorSpec) for leaf in tf.nest.flatten(part))
        parts.append(frozenset(left[:size]))
        left = left[size:]
    if left:
        return None, None, None
    return positional[0], parts[1], parts[2] if len(parts) == 3 else frozenset()
