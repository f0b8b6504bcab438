"""What a model does when it is called: what it returns, and the gradients of losses it adds.

The gradient of an added loss meets other gradients wherever a value that it is computed from has
another use: at an activity that goes on to the next layer, say, its gradient and that of the data
loss are added up, and go back from there as one. What can be recognised is therefore the gradient
by the first values, seen from the loss, that are used elsewhere as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from verify.graphs import READS, flatten, is_model, key_of, resource
from verify.match import Pattern
from verify.references.regularisers import regulariser_name
from verify.references.users_code import traced

# That is what the first is for; the other runs what anybody has written.
_ADDING = (keras.layers.ActivityRegularization, keras.layers.Lambda)


@dataclasses.dataclass(frozen=True)
class AddedLoss:
    """One of ``model.losses``: what to call it, the variables it depends on, and its gradients.

    In the patterns, ``value <i>`` are values that are used elsewhere as well.
    """

    label: str
    keys: tuple[int | str, ...]
    patterns: tuple[Pattern, ...]


@dataclasses.dataclass(frozen=True)
class ModelCall:
    """A model called on a batch while it trains: what it adds, and how its outputs are computed.

    An output that is an input as it is has no pattern. `names`: the keys of outputs in a dict.
    """

    added: tuple[AddedLoss, ...] = ()
    outputs: tuple[Pattern | None, ...] = ()
    names: tuple[str, ...] = ()


def may_add_losses(model: Any) -> bool:
    """Whether a model may add losses when it is called; that it does not is told without a call.

    It does not where all of it is Keras' own, and none of that has a regulariser.
    """
    if is_model(model):
        whole = type(model).__module__.partition(".")[0] == "keras"
        return not whole or any(may_add_losses(layer) for layer in model.layers)
    kind = type(model)
    if kind is not getattr(keras.layers, kind.__name__, None) or kind in _ADDING:
        return True
    try:
        config = model.get_config()
    except NotImplementedError:  # of somebody's cell within it, say, that does not tell its own
        return True
    return any(_tells_of_losses(key, said) for key, said in config.items())


def _tells_of_losses(key: str, said: Any) -> bool:
    """Whether a part of a layer's config is a regulariser, or a layer that is not Keras' own."""
    if key.endswith("regularizer"):
        return said is not None
    if isinstance(said, dict):
        if "class_name" in said and str(said.get("module")).partition(".")[0] != "keras":
            return True
        return any(_tells_of_losses(str(inner), one) for inner, one in said.items())
    return isinstance(said, list | tuple) and any(_tells_of_losses("", one) for one in said)


def model_call(model: Any, x: Any) -> ModelCall:
    """Traces a model on the specs `x` of its inputs.

    Raises:
        Untraced: the model does not take them.
    """
    # A tape makes a backward pass of every loop that it sees: it is set up if there is a loss.
    call = _call(model, x, taped=bool(model.losses))
    return call if call is not None else _call(model, x, taped=True) or ModelCall()


def _call(model: Any, x: Any, taped: bool) -> ModelCall | None:
    """None if the model adds losses and there is no tape for their gradients."""
    variables = list(model.trainable_variables)
    untaped: list[Any] = []
    labels: list[str] = []
    keys: list[tuple[int | str, ...]] = []
    names: list[str] = []

    def gradients(x: Any, upstream: Any) -> tuple[list[Any], list[Any]]:
        labels.clear()
        keys.clear()
        tape = tf.GradientTape(persistent=True)
        with tape if taped else contextlib.nullcontext():
            result = model(x, training=True)
            outputs = tf.nest.flatten(result)
            names[:] = sorted(result) if isinstance(result, dict) else []
            losses = list(model.losses)
        if not taped:
            untaped[:] = losses
            return outputs, []
        uses = _Uses(variables, losses, outputs)
        frontiers = [uses.frontier(loss) for loss in losses]
        resources = [resource(variable) for variable in variables]
        results = []
        for loss, frontier in zip(losses, frontiers, strict=True):
            # All at once: one backward pass for a loss, not one for each variable.
            reached = tape.gradient(loss, resources)
            on = [v for v, one in zip(variables, reached, strict=True) if one is not None]
            labels.append(_label(model, loss, on))
            keys.append(tuple(key_of(variable) for variable in on))
            by = tape.gradient(loss, frontier, output_gradients=tf.cast(upstream, loss.dtype))
            values = [None if t.op.type in READS else t for t in frontier]
            results.append((by, values))
        return outputs, results

    upstream = tf.TensorSpec((), keras.backend.floatx())
    concrete = traced(gradients, x, upstream)
    if untaped:
        return None
    flat = flatten(concrete)
    *data, last = flat.arguments
    returned, added = concrete.structured_outputs
    outputs = iter(flat.outputs)
    roots = [next(outputs) for _ in returned]
    of_data = dict.fromkeys(data, "data")
    patterns = tuple(
        Pattern(flat, (root,), of_data) if root[0] not in data else None for root in roots
    )
    found = []
    for label, on, (by, values) in zip(labels, keys, added, strict=True):
        by_value = [next(outputs) if result is not None else None for result in by]
        leaves = {**of_data, last: "upstream"}
        for i, value in enumerate(values):
            if value is not None:
                leaves[next(outputs)[0]] = f"value {i}"
        own = tuple(Pattern(flat, (root,), leaves) for root in by_value if root is not None)
        found.append(AddedLoss(label, on, own))
    return ModelCall(tuple(found), patterns, tuple(names))


class _Uses:
    """Who uses which value of a model's forward pass."""

    def __init__(self, variables: Iterable[Any], losses: list[Any], outputs: list[Any]) -> None:
        graph = losses[0].graph if losses else tf.compat.v1.get_default_graph()
        handles = {key_of(variable) for variable in variables}
        of_weights = {id(inner) for outer, inner in graph.captures if id(outer) in handles}
        for operation in graph.get_operations():  # in the order in which they were made
            if any(id(tensor) in of_weights for tensor in operation.inputs):
                of_weights.update(id(tensor) for tensor in operation.outputs)
        self._of_weights = of_weights
        self._outputs = {id(tensor) for tensor in outputs}
        self._users = {
            id(tensor): [id(user) for user in tensor.consumers()]
            for operation in graph.get_operations()
            for tensor in operation.outputs
        }

    def frontier(self, loss: Any) -> list[Any]:
        """The first values, seen from the loss, that are used elsewhere or read from a variable."""
        above = self._above(loss)
        found: dict[int, Any] = {}
        stack, seen = [loss], set[int]()
        while stack:
            for tensor in stack.pop().op.inputs:
                if id(tensor) in seen or id(tensor) not in self._of_weights:
                    continue
                seen.add(id(tensor))
                elsewhere = any(user not in above for user in self._users[id(tensor)])
                if tensor.op.type in READS or elsewhere or id(tensor) in self._outputs:
                    found[id(tensor)] = tensor
                else:
                    stack.append(tensor)
        return [tensor for tensor in found.values() if tensor.dtype.is_floating]

    def _above(self, loss: Any) -> set[int]:
        """The ops that a loss is computed by."""
        above: set[int] = set()
        stack = [loss.op]
        while stack:
            operation = stack.pop()
            if id(operation) not in above:
                above.add(id(operation))
                stack.extend(tensor.op for tensor in operation.inputs)
        return above


def _label(model: Any, loss: Any, on: list[Any]) -> str:
    """What to call a loss, e.g. ``L2(l2=0.01)`` or ``activity L2(l2=0.01) of dense``."""
    own = getattr(on[0], "regularizer", None) if len(on) == 1 else None
    if own is not None:
        return regulariser_name(own)
    layer = model
    while inner := [
        one
        for one in getattr(layer, "layers", [])
        if any(loss is added for added in one.losses) and one is not layer
    ]:
        layer = inner[0]
    if layer is model:
        return "add_loss"
    regulariser = getattr(layer, "activity_regularizer", None)
    if regulariser is None:
        return f"add_loss of {layer.name}"
    return f"activity {regulariser_name(regulariser)} of {layer.name}"
