"""Names that are near."""

from __future__ import annotations

import pytest

from loopctl_shared import near_globs, near_spellings

NAMES = ["PyFunc", "EagerPyFunc", "Print", "MatMul"]


def test_the_nearest_come_first_whatever_the_case() -> None:
    assert near_spellings("pyfnc", NAMES) == ["PyFunc"]
    assert near_spellings("pyfunc", NAMES, most=3) == ["PyFunc", "EagerPyFunc"]
    assert near_spellings("Conv2D", NAMES) == []


@pytest.mark.parametrize(
    ("glob", "meant"),
    [
        ("head*", "*/head*"),
        ("kernel", "*/kernel"),
        ("net", "net/*"),
        ("net/he", "net/he*"),
        ("hidden", "*/hidden/*"),
        ("dde", "*dde*"),
        ("net/head/kernl", "net/head/kernel"),
    ],
)
def test_what_a_glob_that_matches_nothing_lacks(glob: str, meant: str) -> None:
    assert near_globs(glob, ["net/hidden/kernel", "net/head/kernel"]) == [meant]


def test_a_glob_that_is_like_nothing() -> None:
    assert near_globs("*/scale", ["net/hidden/kernel"]) == []
