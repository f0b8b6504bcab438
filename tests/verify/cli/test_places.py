"""Where reports point."""

from __future__ import annotations

from pathlib import Path

import pytest

from verify.cli.places import in_repository
from verify.contracts import read

TEXT = """
[contracts.a]
target = "m:f"
loss = "mse"
[contracts.a.guards.flag.true]
clipping = false
[contracts.a.guards.flag.true.guards.inner.false]
loss = "mae"
"""


@pytest.mark.parametrize(
    ("keyword", "line"),
    [
        ("loss", 4),
        ("watched", 2),
        ("guards['flag': True] clipping", 6),
        ("guards['flag': True] loss", 5),
        ("guards['flag': True] guards['inner': False] loss", 8),
        ("guards['other': 3] loss", 5),
    ],
)
def test_the_line_of_a_key(keyword: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "a.graph.toml").write_text(TEXT)
    (contract,) = read(tmp_path / "a.graph.toml")
    assert contract.line_of(keyword) == line


def test_paths_are_from_the_root_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "repository" / "part"
    inner.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert in_repository(inner / "x") == Path("repository/part/x")
    (tmp_path / "repository" / ".git").touch()  # a worktree has a file of that name
    assert in_repository(inner / "x") == Path("part/x")
    monkeypatch.chdir(inner)
    assert in_repository(tmp_path / "x") == tmp_path / "x"
