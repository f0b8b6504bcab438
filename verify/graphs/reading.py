"""Any target -> its flat graph: traced, read once, inlined."""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from verify.graphs.at_hand import callables_at_hand, losses_at_hand, optimizers_at_hand
from verify.graphs.flat_graph import FlatGraph, VariableRef
from verify.graphs.grappler import optimized_definition
from verify.graphs.handed import with_handed
from verify.graphs.inlining import flatten, flatten_definition, flatten_function
from verify.graphs.targets import ran_by_fit, traced
from verify.graphs.traced import Traced
from verify.graphs.variables import (
    Owners,
    components,
    declared_variables,
    numbers_of,
    weights_of,
    with_paths,
)
from verify.printable import printable


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a target was read as.

    `signature`: the structure of its arguments, ``(positional, by name)``, where known. `model`:
    the Keras model that the step belongs to, where known. `declared`: the graph came without
    Python objects, so that no variable says whether it is trained. `owner` is kept alive with it:
    a graph holds its variables weakly. `losses`, `optimizers`: objects that the function has at
    hand. `weights`: the variables of the model, used or not. `numbers`: what the scalar variables
    hold now, by key. `graph`: the ``FuncGraph`` that it was read from, where there is one.
    """

    name: str
    flat: FlatGraph
    signature: Any
    model: Any
    declared: bool
    owner: Any = dataclasses.field(repr=False)
    losses: tuple[Any, ...] = ()
    weights: tuple[VariableRef, ...] = ()
    optimizers: tuple[Any, ...] = ()
    numbers: Mapping[int | str, float] = dataclasses.field(default_factory=dict)
    callables: frozenset[str] = frozenset()
    graph: Any = dataclasses.field(default=None, repr=False)


def read(
    target: Any,
    args: Sequence[Any],
    model: Any = None,
    signature: str | None = None,
    optimized: bool = False,
) -> Reading:
    """Traces `target` on `args` and reads its graph; see `verify.step.capture`."""
    found = traced(target, args, model, signature)
    model = found.model if model is None else model
    owners: Owners = {}
    variables = [] if model is None else [*model.variables, *_others(model)]
    if model is not None and model.distribute_strategy.num_replicas_in_sync > 1:
        owners = components(variables, model.distribute_strategy)
    flat, structure = with_handed(*_flat(found, owners, optimized), found.handed)
    flat = with_paths(flat, variables)
    for node, variable in flat.unread():
        raise ValueError(
            f"{found.name}: {node.op} gets {variable.path} and runs a function that verify does "
            "not read, such as the body of `for batch in dataset`: assert on the function that "
            "takes one batch"
        )
    declared = found.definition is not None
    name = printable(found.name)
    weights = () if model is None else weights_of(model, flat)
    reading = Reading(name, flat, structure, model, declared, found.owner, weights=weights)
    if declared:
        return reading
    # What a function is called with is at hand like what it closes over.
    at_hand = functools.partial(found.owner, *found.handed) if found.handed else found.owner
    graph = found.graph if found.concrete is None else found.concrete.graph
    own = [one for one in found.handed if isinstance(one, tf.Variable)]
    return dataclasses.replace(
        reading,
        losses=losses_at_hand(at_hand, model),
        optimizers=optimizers_at_hand(at_hand, model),
        callables=callables_at_hand(at_hand, model),
        numbers=numbers_of([*graph.variables, *own]),
        graph=graph,
    )


def graph_of_fit(model: Any) -> FlatGraph | None:
    """The graph that ``fit`` has traced and will run again, if it is one, and of one replica."""
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return None
    concrete = ran_by_fit(model)
    return None if concrete is None else _known(concrete, {})


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
        flat.foreign = True
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
