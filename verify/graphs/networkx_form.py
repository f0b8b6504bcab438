"""The public form of a captured graph: plain networkx."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from verify.graphs.flat_graph import IDENTITIES, FlatGraph
from verify.graphs.op_definitions import shape_of
from verify.graphs.reading import read

if TYPE_CHECKING:
    import networkx as nx


def graph(
    target: Any,
    *args: Any,
    model: Any = None,
    signature: str | None = None,
    optimized: bool = False,
) -> nx.MultiDiGraph[str]:
    """Returns the step's graph as a plain ``networkx.MultiDiGraph``, with nested functions inlined.

    Args:
        target, args, model, signature: as for `verify.assert_graph`.
        optimized: whether Grappler, TensorFlow's graph optimizer, is run first.

    Returns:
        A graph whose nodes are ops and whose edges are values and control dependencies;
        docs/graph.md lists their attributes.
    """
    known = getattr(target, "flat", None)  # of what `verify.trace` has made
    if isinstance(known, FlatGraph) and not args and not optimized:
        return to_networkx(known)
    return to_networkx(read(target, args, model, signature, optimized).flat)


def to_networkx(flat: FlatGraph) -> nx.MultiDiGraph[str]:
    """The public form: a plain ``networkx.MultiDiGraph``.

    Nodes are ids; their attributes: ``op``, ``name``, ``path`` (tuple of call sites), ``shapes``,
    ``dtypes``, ``attrs`` (the op's attributes as plain Python: dtypes and functions by name, a
    constant's ``value`` as an array), ``variable`` (path of the variable whose handle this is or
    which the op accesses, else None) and ``access`` ("handle", "read", "write", None).
    Edges carry ``output`` and ``input`` (indices, -1 for none) and ``kind``, "data" or "control".
    The graph's own attributes: ``name``, ``arguments`` (ids), ``outputs`` (pairs of id and index)
    and ``guards``, a dict for each branching op and loop: ``op``, ``name``, ``path``,
    ``predicate`` (id of what chooses) and ``branches`` (a path each; of an ``If``: then, else).
    """
    import networkx as nx  # which takes long to import

    ids = [node.id for node in flat.nodes]
    public: nx.MultiDiGraph[str] = nx.MultiDiGraph(
        name=flat.name,
        arguments=tuple(ids[index] for index in flat.arguments),
        outputs=tuple((ids[index], output) for index, output in flat.outputs),
        guards=tuple(
            {
                "op": guard.op,
                "name": guard.name,
                "path": guard.path,
                "predicate": ids[guard.predicate[0]],
                "branches": guard.branches,
            }
            for guard in flat.guards
        ),
    )
    written = {node.index for node, _ in flat.writes()}
    for node in flat.nodes:
        variable = flat.variables.get(node.index)
        access = "handle" if variable is not None else None
        if variable is None and node.op not in IDENTITIES:
            variable = flat.variable(node)
            if variable is not None:
                access = "write" if node.index in written else "read"
        public.add_node(
            ids[node.index],
            op=node.op,
            name=node.name,
            path=node.path,
            shapes=tuple(node.shapes),
            dtypes=tuple(node.dtypes),
            attrs={k: _plain(v) for k, v in node.attrs.items() if not k.startswith("_")},
            variable=variable.path if variable is not None else None,
            access=access,
        )
    for node in flat.nodes:
        for position, (source, output) in enumerate(node.inputs):
            public.add_edge(
                ids[source], ids[node.index], kind="data", output=output, input=position
            )
        for source in node.control:
            public.add_edge(ids[source], ids[node.index], kind="control", output=-1, input=-1)
    return public


def _plain(value: Any) -> Any:
    """An ``AttrValue`` as a Python value."""
    kind = value.WhichOneof("value")
    if kind == "list":
        lists = value.list
        return tuple(_PLAIN[field.name](one) for field, many in lists.ListFields() for one in many)
    return None if kind is None else _PLAIN[kind](getattr(value, kind))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "s": _text,
    "i": int,
    "f": float,
    "b": bool,
    "type": lambda value: tf.as_dtype(value).name,
    "shape": shape_of,
    "tensor": tf.make_ndarray,
    "func": lambda value: value.name,
    "placeholder": str,
}
