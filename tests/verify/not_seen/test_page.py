"""Each line of "What it does not see" is planted, and each planted step has its line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = Path(__file__).parents[3] / "docs/verify.md"


def lines() -> list[str]:
    """The lines of the section, each as one line of text."""
    section = PAGE.read_text("utf-8").partition("## What it does not see")[2].partition("\n## ")[0]
    found = re.findall(r"^- (.+(?:\n  .+)*)", section, re.MULTILINE)
    return [" ".join(line.split()) for line in found]


def planted() -> list[str]:
    """What the tests beside this one are about, as their docstrings tell."""
    functions = [
        function
        for path in sorted(HERE.glob("test_*_not_seen.py"))
        for function in ast.parse(path.read_text("utf-8")).body
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_")
    ]
    return [ast.get_docstring(function) or "" for function in functions]


def test_each_line_is_planted() -> None:
    tests = planted()
    assert lines()
    for line in lines():
        assert [test for test in tests if test and line.startswith(test)], line


def test_each_planted_step_has_one_line() -> None:
    for test in planted():
        assert len([line for line in lines() if test and line.startswith(test)]) == 1, test
