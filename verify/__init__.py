"""Graph introspection: what a TensorFlow training step does, read from its traced graph."""

from typing import Any

import networkx as _nx

from verify.capture import capture as _capture
from verify.control import assert_config
from verify.expect import assert_graph
from verify.facts import StepFacts, facts
from verify.failure import GraphAssertionError
from verify.network import to_networkx as _to_networkx
from verify.retrace import assert_no_retrace
from verify.same import assert_same_step

__all__ = [
    "GraphAssertionError",
    "StepFacts",
    "assert_config",
    "assert_graph",
    "assert_no_retrace",
    "assert_same_step",
    "facts",
    "graph",
]


def graph(
    target: Any,
    *args: Any,
    model: Any = None,
    signature: str | None = None,
    optimized: bool = False,
) -> "_nx.MultiDiGraph[str]":
    """The step's graph, nested bodies inlined, as a plain ``networkx.MultiDiGraph``.

    Args:
        target, args, model, signature: as for `assert_graph`.
        optimized: the graph as Grappler, TensorFlow's graph optimizer, leaves it for running.

    Returns:
        Nodes and edges with the attributes that `verify.network.to_networkx` lists.
    """
    step = _capture(target, *args, model=model, signature=signature, optimized=optimized)
    return _to_networkx(step.flat)
