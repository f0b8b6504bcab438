"""Names that are near."""

from __future__ import annotations

from loopctl_shared import near_spellings

NAMES = ["PyFunc", "EagerPyFunc", "Print", "MatMul"]


def test_the_nearest_come_first_whatever_the_case() -> None:
    assert near_spellings("pyfnc", NAMES) == ["PyFunc"]
    assert near_spellings("pyfunc", NAMES, most=3) == ["PyFunc", "EagerPyFunc"]
    assert near_spellings("Conv2D", NAMES) == []
