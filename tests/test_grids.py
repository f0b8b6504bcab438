"""What the default profile leaves out of a grid: pairs, and no row and no column."""

import pytest

from tests.grids import pairs


def test_a_part_has_every_row_and_every_column() -> None:
    rows, columns = list(range(7)), ["a", "b", "c"]
    part, whole = (pairs(rows, columns, whole=whole) for whole in (False, True))
    assert len(whole) == len(set(whole)) == 21
    assert set(part) < set(whole)
    assert [row for row, _ in part] == rows
    assert {column for _, column in part} == set(columns)


def test_a_part_that_would_leave_out_a_column_is_refused() -> None:
    with pytest.raises(AssertionError, match="a column would be left out"):
        pairs([1], ["a", "b"], whole=False)
