"""Tensors that travel packed into one, e.g. gradients that replicas reduce together.

Before gradients are reduced among replicas, TensorFlow flattens them into one vector, which it
splits up afterwards. Read op by op, each gradient would then depend on all of them. Here, a piece
of what is split is traced to the very piece that was packed.
"""

from __future__ import annotations

import dataclasses

from verify.graphs.constants import Folder
from verify.graphs.flat_graph import FlatGraph, Node, Tensor

# Ops that add up (or hand over) what several replicas hold, element by element.
REDUCTIONS = {"CollectiveReduce", "CollectiveReduceV2", "NcclAllReduce"}


@dataclasses.dataclass(frozen=True)
class Piece:
    """What one output of a splitting op was before it was packed, and what was done in between."""

    tensor: Tensor
    between: tuple[int, ...]


def pieces(flat: FlatGraph, folder: Folder) -> dict[Tensor, Piece]:
    """Per output of an op that splits what was packed: the piece that it is."""
    found: dict[Tensor, Piece] = {}
    for node in flat.nodes:
        if node.op != "SplitV":
            continue
        between: list[int] = []
        source = flat.node(node.data[0])
        while source.op in REDUCTIONS:
            between.append(source.index)
            source = flat.node(source.data[0])
        if between and source.op == "ConcatV2" and _same_sizes(flat, folder, source, node):
            for output, tensor in enumerate(source.data[:-1]):
                found[node.index, output] = Piece(tensor, tuple(between))
    return found


def _same_sizes(flat: FlatGraph, folder: Folder, packed: Node, split: Node) -> bool:
    """Whether a vector is split into the pieces that it was made of."""
    sizes = folder.value(split.data[1])
    shapes = [flat.shape(tensor) for tensor in packed.data[:-1]]
    if sizes is None or any(shape is None or len(shape) != 1 for shape in shapes):
        return False
    return bool(sizes.tolist() == [shape[0] for shape in shapes if shape is not None])
