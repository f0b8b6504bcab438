"""The public form of a captured graph: plain networkx."""

from __future__ import annotations

import networkx as nx

from verify.graph import IDENTITIES, FlatGraph


def to_networkx(flat: FlatGraph) -> nx.MultiDiGraph[str]:
    """The public form: a plain ``networkx.MultiDiGraph``.

    Nodes are ids; their attributes: ``op``, ``name``, ``path`` (tuple of call sites), ``shapes``,
    ``dtypes``, ``attrs`` (plain op attributes), ``variable`` (path of the variable whose handle
    this is or which the op accesses, else None) and ``access`` ("handle", "read", "write", None).
    Edges carry ``output`` and ``input`` (indices) and ``kind``, "data" or "control".
    """
    public: nx.MultiDiGraph[str] = nx.MultiDiGraph(name=flat.name)
    written = {node.index for node, _ in flat.writes()}
    for node in flat.nodes:
        variable = flat.variables.get(node.index)
        access = "handle" if variable is not None else None
        if variable is None and node.op not in IDENTITIES:
            variable = flat.variable(node)
            if variable is not None:
                access = "write" if node.index in written else "read"
        public.add_node(
            node.id,
            op=node.op,
            name=node.name,
            path=node.path,
            shapes=tuple(node.shapes),
            dtypes=tuple(node.dtypes),
            attrs={k: v for k, v in node.attrs.items() if not k.startswith("_")},
            variable=variable.path if variable is not None else None,
            access=access,
        )
    for node in flat.nodes:
        for position, (source, output) in enumerate(node.inputs):
            public.add_edge(
                flat.nodes[source].id, node.id, kind="data", output=output, input=position
            )
        for source in node.control:
            public.add_edge(flat.nodes[source].id, node.id, kind="control", output=-1, input=-1)
    return public
