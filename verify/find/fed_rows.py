"""The rows that a gradient is fed as, where it consists of rows of a table.

Each time that a row is looked up it has a gradient of its own, and an update has to add them up;
of what is not looked up, moments and weights may still change. So nearly all rows of a table are
fed, some of them several times, and one is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.shapes import Shapes
from verify.flow import Rows
from verify.graphs import FlatGraph, Tensor
from verify.match import NoValueError

Key = int | str
Array = np.ndarray[Any, Any]

_AGAIN = (0, 1, 0)  # one row three times, another one twice


class FedRows:
    """Answers about the tables of a step, by key.

    Args:
        flat: the step.
        rows: where the rows go that their gradients consist of.
        tables: their shapes.
    """

    def __init__(
        self,
        flat: FlatGraph,
        rows: Mapping[Key, Rows],
        tables: Mapping[Key, tuple[int | None, ...]],
    ) -> None:
        self._flat, self._rows, self._tables = flat, rows, tables

    @property
    def repeated(self) -> frozenset[Key]:
        """The tables of which a row may be looked up several times; of others each is fed once."""
        return frozenset(key for key, rows in self._rows.items() if not rows.differ)

    def numbers(self, key: Key, shapes: Shapes) -> list[int]:
        """The numbers of the rows that are fed."""
        (count, *_) = self._shape(key, shapes)
        if key not in self.repeated:
            return [*range(count)]
        looked_up = max(1, count - 1)
        return [*range(looked_up), *(number % looked_up for number in _AGAIN)]

    def numbers_of(self, key: Key, value: Any, shapes: Shapes) -> list[int]:
        """The numbers of the rows that a tensor on the way of a gradient holds.

        It is fed, or these rows are added up in it: to a row for each number, or to a whole table.
        """
        fed, shape = self.numbers(key, shapes), self._shape(key, shapes)
        size = np.size(value)
        forms = (fed, [*dict.fromkeys(fed)], [*range(shape[0])])
        for numbers in forms:
            if len(numbers) * math.prod(shape[1:]) == size:
                return numbers
        raise NoValueError(f"{size} elements are no rows that were fed")

    def cut(self, key: Key, tensor: Tensor, shapes: Shapes, once: bool = False) -> Any:
        """What is fed as the numbers of rows, or as how many the table has; `once`: each once."""
        (count, *_) = self._shape(key, shapes)
        numbers = [*range(count)] if once else self.numbers(key, shapes)
        told = count if tensor in self._rows[key].counts else numbers
        return tf.constant(told, self._flat.dtype(tensor))

    def whole(self, key: Key, value: Any, shapes: Shapes) -> Array:
        """A tensor on the way of a gradient, flat: rows of the same number are added up."""
        values = np.asarray(value, np.float64)
        if key not in self._rows:
            return values.reshape(-1)
        numbers, shape = self.numbers_of(key, values, shapes), self._shape(key, shapes)
        whole = np.zeros(shape)
        np.add.at(whole, numbers, values.reshape(len(numbers), *shape[1:]))
        return whole.reshape(-1)

    def _shape(self, key: Key, shapes: Shapes) -> tuple[int, ...]:
        return tuple(size or 0 for size in shapes.of(self._tables[key]))
