"""A step's graph for other tools."""

from __future__ import annotations

import re
from pathlib import Path

import networkx as nx
import tensorflow as tf

from loopctl_shared import write_whole
from verify.find import Detector
from verify.graphs import to_networkx
from verify.picture.clusters import clusters
from verify.step import Step


def write_graphml(step: Step, path: Path) -> None:
    """GraphML, for Gephi, yEd, igraph and so on; all attributes are texts."""
    write_whole(path, "\n".join(nx.generate_graphml(_plain(step))) + "\n")


def write_dot(step: Step, path: Path) -> None:
    """DOT, for Graphviz, a box for each cluster."""
    graph = _plain(step)
    lines = [f"digraph {_quoted(step.name)} {{", "  rankdir=LR;", "  node [shape=box];"]
    by_cluster: dict[str, list[str]] = {}
    for node, cluster in graph.nodes(data="cluster"):
        by_cluster.setdefault(cluster, []).append(node)
    for number, (cluster, nodes) in enumerate(by_cluster.items()):
        lines.append(f"  subgraph cluster_{number} {{ label={_quoted(cluster)};")
        for node in nodes:
            op, variable = graph.nodes[node]["op"], graph.nodes[node]["variable"]
            label = f"{op}\n{variable}" if variable else op
            shape = " shape=ellipse" if graph.nodes[node]["access"] == "handle" else ""
            lines.append(f"    {_quoted(node)} [label={_quoted(label)}{shape}];")
        lines.append("  }")
    for source, target, kind in graph.edges(data="kind"):
        style = " [style=dashed]" if kind == "control" else ""
        lines.append(f"  {_quoted(source)} -> {_quoted(target)}{style};")
    write_whole(path, "\n".join([*lines, "}"]) + "\n")


def write_tensorboard(step: Step, folder: Path) -> None:
    """An event file in `folder`, whose graph TensorBoard shows by cluster."""
    definition = tf.compat.v1.GraphDef()
    parts = clusters(Detector(step))
    names: list[str] = []
    for node in step.flat.nodes:
        safe = re.sub(r"[^A-Za-z0-9._/>-]", "_", node.id.replace("::", "/"))
        names.append(f"{parts[node.index].replace(' ', '_')}/{safe}_{node.index}")
    for node in step.flat.nodes:
        made = definition.node.add(name=names[node.index], op=node.op)
        made.input.extend(f"{names[source]}:{output}" for source, output in node.data)
        for key in ("T", "dtype"):
            if key in node.attrs:
                made.attr[key].CopyFrom(node.attrs[key])
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.graph(definition)


def _plain(step: Step) -> nx.MultiDiGraph[str]:
    """The public graph with each node's cluster, and with texts for attributes."""
    graph = to_networkx(step.flat)
    parts = clusters(Detector(step))
    for node, cluster in zip(step.flat.nodes, parts, strict=True):
        attributes = graph.nodes[node.id]
        del attributes["attrs"]
        for name, value in attributes.items():
            attributes[name] = "" if value is None else str(value)
        attributes["cluster"] = cluster
    graph.graph.clear()
    return graph


def _quoted(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'
