"""Numbers that shapes alone decide: how many there are of what, as a product of dimensions."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from verify.graphs import FlatGraph, Folder, Node, Tensor

_SAME = {"Cast", "Identity", "Reshape", "Squeeze", "ExpandDims"}


@dataclasses.dataclass(frozen=True)
class Size:
    """A number times dimensions that are not known: each of a tensor, by its position."""

    number: float = 1.0
    dimensions: tuple[tuple[Tensor, int], ...] = ()

    def times(self, other: Size) -> Size:
        dimensions = tuple(sorted(self.dimensions + other.dimensions))
        return Size(self.number * other.number, dimensions)


class Sizes:
    """Answers about one graph."""

    def __init__(self, flat: FlatGraph, folder: Folder) -> None:
        self.flat, self.folder = flat, folder

    def elements(self, of: Tensor) -> Size | None:
        """How many elements a tensor has; None where its rank is not known."""
        dimensions = self._dimensions(of)
        return None if dimensions is None else _product(dimensions)

    def of(self, tensor: Tensor) -> Size | None:
        """A number as a product of dimensions; None where it is no such."""
        value = self.folder.value(tensor)
        if value is not None:
            return Size(float(value.flat[0])) if value.size == 1 else None
        node = self.flat.node(tensor)
        if node.op in _SAME:
            return self.of(node.data[0])
        if node.op == "Size":
            return self.elements(node.data[0])
        if node.op == "Mul":
            left, right = (self.of(part) for part in node.data)
            return None if left is None or right is None else left.times(right)
        if node.op == "Prod":
            listed = self._listed(node.data[0])
            return None if listed is None else _product(listed)
        if node.op == "Unpack":
            listed = self._listed(node.data[0])
            return None if listed is None else listed[tensor[1]]
        return self._one(node) if node.op == "StridedSlice" else None

    def _one(self, node: Node) -> Size | None:
        """One of several numbers."""
        listed, begin = self._listed(node.data[0]), self.folder.value(node.data[1])
        if listed is None or begin is None or begin.size != 1:
            return None
        position = int(begin.flat[0])
        there = node.attrs["shrink_axis_mask"].i == 1 and -len(listed) <= position < len(listed)
        return listed[position] if there else None

    def _listed(self, tensor: Tensor) -> list[Size] | None:
        """Each of several numbers, of a vector."""
        value = self.folder.value(tensor)
        if value is not None:
            return [Size(float(one)) for one in np.ravel(value)]
        node = self.flat.node(tensor)
        if node.op == "Cast":
            return self._listed(node.data[0])
        if node.op == "Shape":
            return self._dimensions(node.data[0])
        if node.op == "Pack":
            parts = [self.of(part) for part in node.data]
            known = [part for part in parts if part is not None]
            return known if len(known) == len(parts) else None
        if node.op == "GatherV2":
            listed, chosen = self._listed(node.data[0]), self.folder.value(node.data[1])
            if listed is None or chosen is None:
                return None
            return [listed[int(place)] for place in np.ravel(chosen)]
        return None

    def _dimensions(self, of: Tensor) -> list[Size] | None:
        shape = self.flat.shape(of)
        if shape is None:
            return None
        source = self.flat.through(of)
        return [
            Size(1.0, ((source, place),)) if size is None else Size(float(size))
            for place, size in enumerate(shape)
        ]


def _product(sizes: list[Size]) -> Size:
    dimensions = (one for size in sizes for one in size.dimensions)
    return Size(math.prod(size.number for size in sizes), tuple(sorted(dimensions)))
