"""What the default profile leaves out: pairs of a grid, but no row and no column; slow cases."""

import pathlib

import pytest

from tests.grids import left_to_thorough, pairs


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


def test_what_is_left_to_thorough_is_there() -> None:
    """A case that was renamed runs again, unnoticed; a file or a test is noticed here."""
    root = pathlib.Path(__file__).parents[1]
    for function in {name.partition("[")[0] for name in left_to_thorough()}:
        path, _, name = function.partition("::")
        # In a class after its name.
        name = name.rpartition("::")[2]
        assert f"def {name}(" in (root / path).read_text(), f"{function}: run ci/thorough.py again"
