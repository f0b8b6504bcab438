"""Per-step history: columns of numbers on the inside, a sequence of mappings to its reader."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from loopctl_shared import html_table

Value = float | bool
Array = np.ndarray[Any, Any]


class StepHistory(Sequence[Mapping[str, Value]]):
    """What happened in each train step: a sequence of mappings with all losses, metrics and states.

    Numbers are stored in columns, 8 bytes each (1 for a control state). A name that is missing in a
    step reads as NaN there.
    """

    def __init__(self, rows: Iterable[Mapping[str, Value]] = ()) -> None:
        self._columns: dict[str, array[Any]] = {}
        self._start = 0
        for row in rows:
            self.append(row)

    @classmethod
    def from_dict(cls, columns: Mapping[str, Any]) -> StepHistory:
        """A history made of arrays of the same length by name, as `to_dict` returns them."""
        history = cls()
        names = list(columns)
        if names and len(columns[names[0]]):
            for name in names:
                values = np.asarray(columns[name])
                typecode = "b" if values.dtype == bool else "d"
                history._columns[name] = array(typecode, values.astype(typecode).tobytes())
        return history

    def since(self, start: int) -> StepHistory:
        """A view of the steps from `start` on, without a copy; it also shows steps added later."""
        view = StepHistory()
        view._columns, view._start = self._columns, self._start + start
        return view

    def append(self, row: Mapping[str, Value]) -> None:
        """Adds one step."""
        states = frozenset(name for name, value in row.items() if isinstance(value, bool))
        values = np.array([[float(value) for value in row.values()]])
        self.record(tuple(row), values, states)

    def record(
        self, names: Sequence[str], values: Array, states: frozenset[str] = frozenset()
    ) -> None:
        """Adds several steps.

        Args:
            names: the names of the columns.
            values: (steps, columns), float64.
            states: the names of the columns that hold booleans.
        """
        steps, length = len(values), self._total
        for i, name in enumerate(names):
            column = self._columns.get(name)
            if column is None:
                boolean = name in states and not length
                column = array("b") if boolean else array("d", [float("nan")] * length)
                self._columns[name] = column
            if steps == 1:  # as after each step, where every microsecond counts
                column.append(values[0, i] if column.typecode == "d" else int(values[0, i]))
            else:
                column.frombytes(values[:, i].astype(column.typecode).tobytes())
        for name in self._columns.keys() - set(names):
            column = self._columns[name]
            if column.typecode == "b":  # a state that is not known is no state
                column = self._columns[name] = array("d", column)
            column.extend([float("nan")] * steps)

    def column(self, name: str, last: int | None = None) -> Array:
        """A copy of the (last) values in a column, (steps,): float64, or bool for control states.

        Raises:
            KeyError: no step has a value of that name.
        """
        if name not in self._columns:
            raise KeyError(f"there is no column {name!r}; there are {', '.join(self._columns)}")
        column = self._columns[name]
        start = self._start if last is None else max(self._start, len(column) - last)
        dtype = bool if column.typecode == "b" else float
        # A copy: an array that something looks into can't grow.
        return np.frombuffer(column, dtype)[start:].copy()

    def to_dict(self) -> dict[str, Array]:
        """All columns as arrays (steps,) by name: float64, or bool for control states.

        A ``pandas.DataFrame`` can be made of it.
        """
        return {name: self.column(name) for name in self._columns}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._columns)

    @property
    def _total(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __len__(self) -> int:
        return max(self._total - self._start, 0)

    def _row(self, index: int) -> dict[str, Value]:
        at = index + self._start
        return {
            name: bool(column[at]) if column.typecode == "b" else column[at]
            for name, column in self._columns.items()
        }

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Value]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Value]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        length = len(self)
        if isinstance(index, slice):
            return [self._row(i) for i in range(*index.indices(length))]
        position = index + length if index < 0 else index
        if not 0 <= position < length:
            raise IndexError(f"step {index} of a history of {length}")
        return self._row(position)

    def __iter__(self) -> Iterator[Mapping[str, Value]]:
        return (self._row(i) for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # mutable, like a list

    def __repr__(self) -> str:
        return f"<StepHistory of {len(self)} steps: {', '.join(self._columns) or 'empty'}>"

    def _repr_html_(self) -> str:
        """The first and the last steps, as a notebook shows them."""
        count = len(self)
        shown = (
            range(count) if count <= 2 * _SHOWN else [*range(_SHOWN), *range(count - _SHOWN, count)]
        )
        rows = [[str(i), *(_told(value) for value in self._row(i).values())] for i in shown]
        if len(shown) < count:
            rows.insert(_SHOWN, ["…"] * (1 + len(self._columns)))
        return html_table(("step", *self._columns), rows, caption=f"{count} steps")


_SHOWN = 5  # steps at the beginning, and at the end


def _told(value: Value) -> str:
    return str(value) if isinstance(value, bool) else f"{value:.6g}"
