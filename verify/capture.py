"""Any target -> its flat graph, and what its arguments and variables mean."""

from __future__ import annotations

import dataclasses
import functools
import weakref
from typing import Any

from verify.dataflow import differentiated
from verify.flat import FlatGraph, Tensor, VariableRef
from verify.flatten import flatten, flatten_definition, flatten_function
from verify.model_reference import ModelReference
from verify.optimized import optimized_definition
from verify.roles import roles_of
from verify.targets import Traced, traced
from verify.variables import Owners, components, declared_variables

Region = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Step:
    """A captured step.

    `targets`, `weights`: tensors that carry ``y`` and ``sample_weight``, None if the arguments do
    not tell. `reference`: the model that the step trains, where known. `declared`: the graph came
    without Python objects, so that no variable says whether it is trained.
    """

    name: str
    flat: FlatGraph
    targets: frozenset[Tensor] | None = None
    weights: frozenset[Tensor] | None = None
    reference: ModelReference | None = None
    declared: bool = False
    owner: Any = dataclasses.field(default=None, repr=False)

    @functools.cached_property
    def trainable(self) -> frozenset[int | str] | None:
        """Keys of the variables that count as trainable, None to ask the variables."""
        if self.reference is not None:
            return self.reference.trainable
        if not self.declared:
            return None
        for node, variable in self.flat.reads():
            if node.shapes[:1] in ([], [None]):
                raise ValueError(
                    f"{self.name} does not say what shape {variable.path} has: write the GraphDef "
                    "with shapes, graph.as_graph_def(add_shapes=True)"
                )
        return differentiated(self.flat)

    @functools.cached_property
    def variables(self) -> list[VariableRef]:
        """One for each variable, whatever its replicas."""
        return list({variable.key: variable for variable in self.flat.variables.values()}.values())

    @functools.cached_property
    def paths(self) -> dict[int | str, str]:
        """The paths of the variables, by key."""
        return {variable.key: variable.path for variable in self.variables}

    @functools.cached_property
    def replicas(self) -> int:
        return 1 + max((v.replica for v in self.flat.variables.values()), default=0)


def capture(
    target: Any,
    *args: Any,
    model: Any = None,
    reference: ModelReference | None = None,
    signature: str | None = None,
    optimized: bool = False,
) -> Step:
    """Traces `target` on `args`.

    Args:
        target: a ``tf.function`` or any other callable, e.g. a ``tf.Module``'s method; a
            ``ConcreteFunction``; a compiled Keras model, of Keras 3 or of ``tf_keras`` (its
            ``train_step``), or its ``train_step``, ``test_step``, ``predict_step``,
            ``train_function``, ``test_function`` or ``predict_function``; a ``FuncGraph``; a
            ``GraphDef``; the path of a SavedModel or of a file with a ``GraphDef`` (``.pb``,
            ``.pbtxt``).
        args: a batch as ``(x, y)`` or ``(x, y, sample_weight)``, in one tuple or one by one:
            tensors, arrays or ``tf.TensorSpec``; or a ``tf.data.Dataset`` of such; for what takes
            one, an iterator. A batch is that of one replica.
        model: the model trained by the step, where the target does not tell: its trainable
            variables and the regularisers it adds are then taken from it.
        reference: what has been traced from that model before, to be used again.
        signature: which function of a SavedModel, if it has several.
        optimized: take the graph as Grappler leaves it.

    Raises:
        TypeError: `target` is nothing that can be traced, or needs arguments that are missing.
        ValueError: no such signature; a variable goes into a function that is not read, as in a
            loop over a dataset.
    """
    found = traced(target, args, model, signature)
    model = found.model if model is None else model
    owners: Owners = {}
    if model is not None and model.distribute_strategy.num_replicas_in_sync > 1:
        variables = [*model.variables, *_others(model)]
        owners = components(variables, model.distribute_strategy)
    flat, structure = _flat(found, owners, optimized)
    for node, variable in flat.unread():
        raise ValueError(
            f"{found.name}: {node.op} gets {variable.path} and runs a function that verify does "
            "not read, such as the body of `for batch in dataset`: assert on the function that "
            "takes one batch"
        )
    roles = roles_of(structure, flat)
    if reference is None and model is not None and roles is not None:
        reference = ModelReference(model, roles.x)
    return Step(
        found.name,
        flat,
        None if roles is None else roles.targets,
        None if roles is None else roles.weights,
        reference,
        found.definition is not None,
        found.owner,
    )


_KNOWN: weakref.WeakKeyDictionary[Any, FlatGraph] = weakref.WeakKeyDictionary()


def _known(concrete: Any, owners: Owners) -> FlatGraph:
    """A concrete function's graph never changes, so that it is read once."""
    if owners:
        return flatten(concrete, owners)
    if concrete not in _KNOWN:
        _KNOWN[concrete] = flatten(concrete)
    return _KNOWN[concrete]


def _others(model: Any) -> list[Any]:
    """Variables that a model keeps apart from its own: of its optimizer and its metrics."""
    optimizer = getattr(model, "optimizer", None)
    variables = getattr(optimizer, "variables", [])
    found = list(variables() if callable(variables) else variables)
    for metric in model.metrics:
        found += list(metric.variables)
    return found


def _flat(found: Traced, owners: Owners, optimized: bool) -> tuple[FlatGraph, Any]:
    """The flat graph of what was traced, and the structure of its arguments, where known."""
    if found.definition is not None:
        if optimized:
            raise TypeError(
                f"{found.name}: only a function can be optimised, since Grappler has to know what "
                "is fed and fetched; a GraphDef does not say that"
            )
        flat = flatten_definition(found.definition, found.name)
        flat.variables = declared_variables(flat)
        resources = {"resource", "variant"}
        flat.arguments = [
            node.index
            for node in flat.nodes
            if node.op == "Placeholder" and not node.path and not resources & {*node.dtypes}
        ]
        return flat, None
    graph = found.graph if found.concrete is None else found.concrete.graph
    captured = graph.external_captures if found.concrete is None else found.concrete.captured_inputs
    structure = graph.structured_input_signature
    if optimized:
        definition = optimized_definition(graph, found.name)
        return flatten_function(definition, graph, found.name, captured, owners), structure
    if found.concrete is not None:
        return _known(found.concrete, owners), found.concrete.structured_input_signature
    definition = graph.as_graph_def(add_shapes=True)
    return flatten_function(definition, graph, found.name, captured, owners), structure
