"""What was put into a vector of all gradients, and taken out of it again.

So people clip all gradients by one norm, say: flattened, joined, scaled and split.
"""

from __future__ import annotations

import math

import numpy as np

from verify.flow.dependence import Dependence
from verify.graphs import RESHAPES, Node, Tensor

_MOST_STEPS = 32  # from where a vector is split to where it was joined


def taken_from(flow: Dependence, piece: Tensor) -> Tensor | None:
    """What a piece of a vector was before it was joined to others; None if it is no such piece."""
    piece = _unmoved(flow, piece)
    place = _place(flow, piece)
    if place is None:
        return None
    vector, begin = place
    length, size = size_of(flow.flat.shape(vector)), size_of(flow.flat.shape(piece))
    for _ in range(_MOST_STEPS):
        node = flow.flat.node(vector)
        if node.op == "ConcatV2":
            offset = 0
            for tensor in node.data[:-1]:
                if offset == begin and size_of(flow.flat.shape(tensor)) == size:
                    return _unmoved(flow, tensor)
                offset += size_of(flow.flat.shape(tensor)) or 0
            return None
        above = [t for t in node.data if size_of(flow.flat.shape(t)) == length]
        if length is None or not above:
            return None
        vector = above[0]
    return None


def _place(flow: Dependence, piece: Tensor) -> tuple[Tensor, int] | None:
    """The vector that a tensor is a part of, and where it begins there."""
    node = flow.flat.node(piece)
    if node.op == "SplitV":
        sizes = _numbers(flow, node, 1)
        return None if sizes is None else (node.data[0], int(sizes[: piece[1]].sum()))
    if node.op == "Split":
        size = size_of(flow.flat.shape(piece))
        return None if size is None else (node.data[1], size * piece[1])
    if node.op in ("Slice", "StridedSlice"):
        begin = _numbers(flow, node, 1)
        return None if begin is None or begin.size != 1 else (node.data[0], int(begin[0]))
    return None


def _numbers(
    flow: Dependence, node: Node, position: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
    value = flow.folder.value(node.data[position])
    return None if value is None else value.reshape(-1).astype(np.int64)


def _unmoved(flow: Dependence, tensor: Tensor) -> Tensor:
    """What a tensor was before it was given another shape."""
    while flow.flat.node(tensor).op in RESHAPES:
        tensor = flow.flat.node(tensor).data[0]
    return tensor


def size_of(shape: tuple[int | None, ...] | None) -> int | None:
    """How many elements there are in a shape, None where that is not known."""
    known = [n for n in shape or () if n is not None]
    return None if shape is None or len(known) < len(shape) else math.prod(known)
