"""A package gives names that are imported when first asked for."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loopctl_shared import imported_on_demand


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An empty package with two modules that are not imported yet."""
    (tmp_path / "made_up").mkdir()
    (tmp_path / "made_up" / "__init__.py").touch()
    (tmp_path / "made_up" / "inner.py").write_text("def thing() -> int:\n    return 7\n")
    (tmp_path / "made_up" / "other.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("made_up", "made_up.inner", "made_up.other"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return __import__("made_up")


@pytest.fixture
def get(package: ModuleType) -> Callable[[str], Any]:
    return imported_on_demand("made_up", ("other",), {"thing": "made_up.inner"})


def test_a_name_comes_from_the_module_that_has_it(
    package: ModuleType, get: Callable[[str], Any]
) -> None:
    assert "made_up.inner" not in sys.modules
    assert get("thing")() == 7
    assert vars(package)["thing"] is sys.modules["made_up.inner"].thing


def test_a_submodule_is_imported(package: ModuleType, get: Callable[[str], Any]) -> None:
    assert "made_up.other" not in sys.modules
    assert get("other") is sys.modules["made_up.other"]


def test_the_version_is_that_of_the_distribution(get: Callable[[str], Any]) -> None:
    assert get("__version__") == importlib.metadata.version("keras-loopctl")


def test_nothing_else_is_there(get: Callable[[str], Any]) -> None:
    with pytest.raises(AttributeError, match="module 'made_up' has no attribute 'inner'"):
        get("inner")


def test_what_is_shared_costs_no_import_of_another_package() -> None:
    code = """
import sys
import loopctl_shared
heavy = {"tensorflow", "keras", "numpy", "loopctl", "verify", "inalu"}
print(sorted(heavy & sys.modules.keys()))
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"
