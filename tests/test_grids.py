"""What the default profile leaves out: pairs of a grid, but no row and no column; slow cases."""

import pathlib

import pytest

from ci import thorough
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
        assert f"def {name}(" in (root / path).read_text(), f"{function}: run ci/thorough.py again"


def test_a_case_goes_if_others_run_all_that_it_runs() -> None:
    one, other = (0, 1, 2), (0, 1, 3)
    seconds = {"a": 9.0, **dict.fromkeys((f"b[{i}]" for i in range(6)), 2.0), "b[6]": 0.1}
    ran = {name: {one} for name in seconds} | {"b[3]": {one, other}}
    # Not the first one, none that runs what no other does, none that is quick.
    gone = thorough.left_out(seconds, ran, limit=1.0, tests=1, share=0.0)
    assert gone == ["b[1]", "b[2]", "b[4]", "b[5]"]
    # Two are to run each branch, which "a" and "b[0]" do, among others.
    assert thorough.left_out(seconds, ran, limit=1.0, tests=7, share=0.0) == ["b[1]"]
    # Half of them stay: four of seven.
    assert thorough.left_out(seconds, ran, limit=1.0, tests=1, share=0.5) == gone[:3]
    # Each value of two of them is left to one.
    seconds = dict.fromkeys((f"b[{row}-{column}]" for row in "xyz" for column in "uv"), 1.0)
    gone = thorough.left_out(seconds, {}, limit=0.5, tests=0, share=0.0)
    assert {*seconds} - {*gone} == {"b[x-u]", "b[y-v]", "b[z-v]"}
