"""What was put into a vector of all gradients, and taken out of it again.

So people clip all gradients by one norm, say: flattened, joined, scaled and split.
"""

from __future__ import annotations

import math

import numpy as np

from verify.flow.dependence import Dependence
from verify.graphs import Node, Tensor

_MOVES = {"Reshape", "Squeeze", "ExpandDims"}
_MOST_STEPS = 32  # from where a vector is split to where it was joined


def taken_from(flow: Dependence, piece: Tensor) -> Tensor | None:
    """What a piece of a vector was before it was joined to others; None if it is no such piece."""
    piece = _unmoved(flow, piece)
    place = _place(flow, piece)
    if place is None:
        return None
    vector, begin = place
    length, size = _size(flow, vector), _size(flow, piece)
    for _ in range(_MOST_STEPS):
        node = flow.flat.node(vector)
        if node.op == "ConcatV2":
            offset = 0
            for tensor in node.data[:-1]:
                if offset == begin and _size(flow, tensor) == size:
                    return _unmoved(flow, tensor)
                offset += _size(flow, tensor) or 0
            return None
        above = [t for t in node.data if _size(flow, t) == length]
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
        size = _size(flow, piece)
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
    while flow.flat.node(tensor).op in _MOVES:
        tensor = flow.flat.node(tensor).data[0]
    return tensor


def _size(flow: Dependence, tensor: Tensor) -> int | None:
    shape = flow.flat.shape(tensor)
    if shape is None or None in shape:
        return None
    return math.prod(n for n in shape if n is not None)
