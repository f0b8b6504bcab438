"""Names by which others find what is ours."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from loopctl_shared import DISTRIBUTION, how_to_install, version

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
PROJECT = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]


def test_the_distribution_is_that_of_the_project() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert version() == importlib.metadata.version(PROJECT["name"])


@pytest.mark.parametrize("installed", ["0.1.0", "1.12.3rc1"])
def test_an_extra_is_asked_for_as_new_as_what_asks(
    installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: installed)
    bound = {"0.1.0": "0.1", "1.12.3rc1": "1.12"}[installed]
    assert how_to_install("plot") == f"pip install '{PROJECT['name']}[plot]>={bound}'"
