"""`assert_graph` itself; what its keywords find is tested by kind."""

from __future__ import annotations

import inspect

import verify
from verify.kinds import KEYWORDS

TARGET = ["target", "args", "model", "signature"]  # what is verified, and no keyword of a kind


def test_it_has_every_keyword_of_every_kind() -> None:
    """They are written out in its signature and its docstring, for people and their editors."""
    parameters = inspect.signature(verify.assert_graph).parameters
    assert {name for name in parameters if name not in TARGET} == set(KEYWORDS)
    told = inspect.getdoc(verify.assert_graph) or ""
    assert [name for name in KEYWORDS if name not in told] == []
