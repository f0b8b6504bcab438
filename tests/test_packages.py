"""What can be reached after a plain import of each package, and what that costs."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import inalu
import loopctl
import verify
from loopctl_shared import DISTRIBUTION, how_to_install

SUBMODULES = {
    "loopctl": ("board", "distributed", "objectives", "plots", "presets", "when"),
    "verify": ("strategies",),
    "inalu": ("layers", "papers", "plots", "recipe", "schedules", "task"),
}


@pytest.mark.parametrize("package", SUBMODULES)
def test_public_submodules_and_the_version(package: str) -> None:
    names = [f"{package}.{name}" for name in SUBMODULES[package]]
    code = f"import {package}; print({package}.__version__, *({', '.join(names)},), sep='|')"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root
    )
    assert done.returncode == 0, done.stderr
    version, *modules = done.stdout.split("|")
    assert version == importlib.metadata.version(DISTRIBUTION)
    assert [module.split("'")[1] for module in modules] == names
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = importlib.import_module(package).nothing


def test_layers_need_no_package_that_only_formulas_need() -> None:
    code = "import sys; from inalu import NALU, recipe; print('sympy' in sys.modules)"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "False\n"


def test_assertions_take_no_networkx_along() -> None:
    """Which takes as long to import as half of `verify`."""
    code = "import sys, verify; verify.assert_graph; print('networkx' in sys.modules)"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("hidden", "code", "extra"),
    [
        ("matplotlib", "loopctl.plots.plot_history(loopctl.StepHistory([{'loss': 1.0}]))", "plot"),
        ("sympy", "inalu.explain", "formula"),
        ("yaml", "loopctl.save_config(config, folder / 'a.yaml')", "files"),
        ("yaml", "(folder / 'b.yaml').touch(); loopctl.load_config(folder / 'b.yaml')", "files"),
        ("hypothesis", "verify.strategies", "hypothesis"),
    ],
)
def test_what_is_missing_says_what_to_install(
    hidden: str, code: str, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == hidden]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, hidden, None)
    monkeypatch.delitem(sys.modules, "verify.strategies", raising=False)
    monkeypatch.delitem(vars(verify), "strategies", raising=False)
    for name in ("inalu.explanation", "inalu.formula"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delitem(vars(inalu), "explain", raising=False)
    scope = {
        "loopctl": loopctl,
        "verify": verify,
        "inalu": inalu,
        "folder": tmp_path,
        "config": loopctl.presets.delayed_regularization(loopctl.when.always),
    }
    with pytest.raises(ImportError) as caught:
        exec(code, scope)
    assert str(caught.value).endswith(f"not installed: {how_to_install(extra)}")


@pytest.mark.parametrize(
    "module", [f"{package}.{name}" for package, names in SUBMODULES.items() for name in names]
)
def test_what_is_public_is_listed(module: str) -> None:
    found = importlib.import_module(module)
    assert sorted(found.__all__) == sorted(set(found.__all__))
    assert all(hasattr(found, name) for name in found.__all__)
