"""Per-step history: columns of numbers on the inside, a sequence of mappings to its reader."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

Value = float | bool


class History(Sequence[Mapping[str, Value]]):
    """One mapping per train step: every loss, metric and control state by name.

    Numbers are stored in columns, 8 bytes each (1 for a control state). A name that is missing in
    some step reads as NaN there.
    """

    def __init__(self, rows: Iterable[Mapping[str, Value]] = ()) -> None:
        self._columns: dict[str, array[Any]] = {}
        self._length = 0
        for row in rows:
            self.append(row)

    def append(self, row: Mapping[str, Value]) -> None:
        """Adds one step."""
        self.extend({name: [value] for name, value in row.items()}, 1)

    def extend(self, columns: Mapping[str, Sequence[Value]], steps: int) -> None:
        """Adds `steps` steps, given by column."""
        for name, values in columns.items():
            column = self._columns.get(name)
            if column is None:
                states = all(isinstance(value, bool) for value in values) and not self._length
                column = array("b") if states else array("d", [float("nan")] * self._length)
                self._columns[name] = column
            column.extend(values)  # type: ignore[arg-type]  # bools are ints to an array("b")
        self._length += steps
        for name in self._columns.keys() - columns.keys():
            column = self._columns[name]
            if column.typecode == "b":  # a state that is not known is no state
                column = self._columns[name] = array("d", column)
            column.extend([float("nan")] * steps)

    def __len__(self) -> int:
        return self._length

    def _row(self, index: int) -> dict[str, Value]:
        return {
            name: bool(column[index]) if column.typecode == "b" else column[index]
            for name, column in self._columns.items()
        }

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Value]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Value]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._row(i) for i in range(*index.indices(self._length))]
        position = index + self._length if index < 0 else index
        if not 0 <= position < self._length:
            raise IndexError(f"step {index} of a history of {self._length}")
        return self._row(position)

    def __iter__(self) -> Iterator[Mapping[str, Value]]:
        return (self._row(i) for i in range(self._length))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # mutable, like a list

    def __repr__(self) -> str:
        return f"<History of {self._length} steps: {', '.join(self._columns) or 'empty'}>"
