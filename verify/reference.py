"""References: the graphs of expected objects, made by tracing the objects themselves.

Nothing here knows how a mean squared error or an L2 regulariser looks as ops. A reference is what
TensorFlow traces for the expected object and for its gradient, on the specs found in the step.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
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

# Keras' crossentropies look behind a softmax or sigmoid that made the prediction and continue from
# its logits, so that the reference must be traced behind such an activation too.
PREDICTION_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "": lambda z: z,
    "Softmax": keras.activations.softmax,
    "Sigmoid": keras.activations.sigmoid,
}

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


@functools.cache
def _function_loss(library: Any) -> type:
    """The Loss that one Keras makes of a plain function ``(y_true, y_pred) -> loss values``."""

    class FunctionLoss(library.losses.Loss):
        """A plain function under the default reduction."""

        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__(name="function_loss")  # that of a lambda is no name scope
            self.function = function

        def call(self, y_true: Any, y_pred: Any) -> Any:
            if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
                y_true = tf.expand_dims(y_true, -1) if len(y_true.shape) == 1 else y_true
            return self.function(y_true, y_pred)

    return FunctionLoss


def loss_forms(loss: Any) -> list[Callable[..., Any]]:
    """The ways in which an expected loss may enter a step, as ``f(y_true, y_pred[, weight])``.

    A ``keras.losses.Loss`` is taken as it is, reduction included. A function says nothing of its
    reduction: Keras' default, a plain mean and, if it returns a scalar, none are all accepted.
    """
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if is_loss(loss):
        return [loss]
    if not callable(loss):
        raise TypeError(f"{loss!r} is not a loss: expected a Loss, a function or a Keras name")
    plain: Callable[..., Any] = loss

    def bare(y_true: Any, y_pred: Any) -> Any:
        return plain(y_true, y_pred)

    def mean(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(plain(y_true, y_pred))

    # Keras 2 reduces in other ops than Keras 3; it is never imported for that.
    libraries = [keras, *(sys.modules[name] for name in ("tf_keras",) if name in sys.modules)]
    return [*(_function_loss(library)(plain) for library in libraries), mean, bare]


def is_loss(loss: Any) -> bool:
    """Whether this is a Loss object, of Keras 3 or of Keras 2 (``tf_keras``)."""
    return isinstance(loss, keras.losses.Loss) or (
        callable(loss) and hasattr(loss, "reduction") and hasattr(loss, "get_config")
    )


def loss_name(loss: Any) -> str:
    """What a person calls this loss: its class and settings that are not the default, or a name."""
    if isinstance(loss, str):
        return loss
    if not is_loss(loss):
        return str(getattr(loss, "__name__", loss))
    defaults = inspect.signature(type(loss)).parameters
    # Keras' config of Huber lacks its delta, which there is no public way to ask for. Private, and
    # tests/verify/test_every_loss.py notices if it moves.
    every = {**loss.get_config(), **getattr(loss, "_fn_kwargs", {})}
    settings = [
        f"{key}={value!r}"
        for key, value in every.items()
        if key in defaults and key not in ("name", "dtype") and value != defaults[key].default
    ]
    return f"{type(loss).__name__}({', '.join(settings)})" if settings else type(loss).__name__


def other_reductions(loss: Any) -> list[Any]:
    """A ``keras.losses.Loss`` as it is when it is reduced in another way."""
    if not isinstance(loss, keras.losses.Loss):
        return []
    others = []
    for reduction in ("sum", "sum_over_batch_size"):
        if loss.reduction != reduction:
            # Not copy.copy: Keras copies by config, and that of Huber lacks its delta.
            other = object.__new__(type(loss))
            vars(other).update(vars(loss), reduction=reduction)
            others.append(other)
    return others


@dataclasses.dataclass(frozen=True, eq=False)
class Itself:
    """Makes any object, hashable or not, a key that equals only itself."""

    value: Any

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and self.value is other.value


def loss_patterns(
    loss: Any,
    y_true: Spec,
    y_pred: Spec,
    weight: Spec | None,
    ops: Collection[str],
    masked: bool = False,
) -> list[Pattern]:
    """Patterns of the gradient of `loss` with respect to the prediction (or its logits).

    `ops`: the op types of the graph in which these are to be found. `masked`: of a prediction that
    carries a Keras mask, of its shape but for the last axis, which a Loss heeds by itself.
    """
    itself = Itself(loss)
    found: list[Pattern] = []
    for op in PREDICTION_FORMS:
        if not op or op in ops:
            found += _loss_patterns(itself, y_true, y_pred, weight, op, masked)
    return found


@functools.lru_cache(maxsize=1024)
def _loss_patterns(
    itself: Itself, y_true: Spec, y_pred: Spec, weight: Spec | None, op: str, masked: bool
) -> list[Pattern]:
    found: list[Pattern] = []
    shape = y_pred[0]
    if masked and not shape:
        return found
    for function in loss_forms(itself.value):
        for weighted in (False, True) if weight is not None else (False,):
            specs: dict[str, Spec] = {"target": y_true, "prediction": y_pred}
            # A Loss computes in its own dtype, a function in that of the prediction.
            specs["upstream"] = ((), getattr(function, "dtype", y_pred[1]))
            if weighted and weight is not None:
                specs["sample weight"] = weight
            if masked and shape:
                specs["mask"] = (shape[:-1], "bool")
            try:
                made = _loss_pattern(function, PREDICTION_FORMS[op], specs)
            except MISFIT:
                continue
            if made is not None:
                used = _used(made)
                tells = "upstream" in used and not used.isdisjoint({"prediction", "target"})
                if tells and ("mask" in used) == masked:
                    found.append(made)
    return found


def _loss_pattern(
    function: Callable[..., Any], activation: Callable[[Any], Any], specs: Mapping[str, Spec]
) -> Pattern | None:
    """The gradient of one form of a loss by the prediction, before its activation; roles: specs."""

    def gradient(*arguments: Any) -> Any:
        given = dict(zip(specs, arguments, strict=True))
        weights = [given["sample weight"]] if "sample weight" in given else []
        with tf.GradientTape() as tape:
            tape.watch(given["prediction"])
            prediction = activation(given["prediction"])
            if "mask" in given:
                # Keras documents that a mask travels so, but has no public way to set one;
                # tests/verify/test_losses.py notices if it moves.
                prediction._keras_mask = given["mask"]
            value = function(given["target"], prediction, *weights)
        result = tape.gradient(value, given["prediction"], output_gradients=given["upstream"])
        return result, activation(given["prediction"])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras' advice on logits is not for us
        return pattern(gradient, list(specs.values()), list(specs))


def _used(made: Pattern) -> set[str]:
    """The roles that the roots depend on: what a graph can tell of the pattern."""
    reached: set[int] = set()
    stack = [root[0] for root in made.roots]
    while stack:
        index = stack.pop()
        if index not in reached:
            reached.add(index)
            stack.extend(source for source, _ in made.flat.nodes[index].data)
    return {role for index, role in made.leaves.items() if index in reached}


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
