"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["loopctl", "verify", "inalu"]
SHARED, GATE = "loopctl_shared", "loopctl_gate"
# Sub-packages that are entered by their `__init__` only; import contracts hold that.
ROOMS = [
    *sorted(
        f"{package}.{init.parent.name}"
        for package in ("loopctl", "verify")
        for init in (ROOT / package).glob("*/__init__.py")
    ),
    *("inalu.experiment", SHARED, GATE),
]
# Modules that are public as a whole, beside the packages.
PUBLIC = [
    *PACKAGES,
    *(
        "loopctl.when",
        "loopctl.presets",
        "loopctl.objectives",
        "loopctl.distributed",
        "loopctl.plots",
        "loopctl.board",
    ),
    *("verify.strategies", "inalu.layers", "inalu.papers", "inalu.schedules", "inalu.task"),
    "inalu.plots",
]


def modules() -> list[Path]:
    folders = [*PACKAGES, SHARED, GATE, "tests", "benchmarks", "examples", "ci"]
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_long_module_says_why_it_is(path: Path) -> None:
    text = path.read_text()
    if len(text.splitlines()) > 400:
        docstring = ast.get_docstring(ast.parse(text)) or ""
        assert "More than 400 lines" in docstring


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_comes_in_and_out(room: str) -> None:
    found = importlib.import_module(room)
    text = " ".join((found.__doc__ or "").split())
    assert re.search(r"\. In: .+ Out: .+ May import: .+\.$", text)
    assert all(hasattr(found, name) for name in found.__all__)


@pytest.mark.parametrize("room", ROOMS)
def test_nobody_reaches_past_the_door_of_a_room(room: str) -> None:
    """For there is a contract on its imports, which `lint-imports` checks."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    protected = {
        (contract["protected_modules"][0], contract["allowed_importers"][0])
        for contract in contracts
        if contract["type"] == "protected"
    }
    assert (f"{room}.*", room) in protected


def names() -> list[tuple[str, str]]:
    return [(m, name) for m in PUBLIC for name in importlib.import_module(m).__all__]


@pytest.mark.parametrize(("module", "name"), names())
def test_a_public_name_is_documented_and_typed(module: str, name: str) -> None:
    found = getattr(importlib.import_module(module), name)
    if inspect.isroutine(found) or inspect.isclass(found):
        assert (found.__doc__ or "").strip(), "without a docstring"
    if inspect.isfunction(found):
        signature = inspect.signature(found)
        untyped = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
        assert not untyped
        assert signature.return_annotation is not signature.empty


def test_a_public_name_is_exported_once() -> None:
    """But for the layer of the thesis, which `inalu` has at hand as well."""
    seen: dict[int, str] = {}
    for module, name in names():
        found: Any = getattr(importlib.import_module(module), name)
        if inspect.isroutine(found) or inspect.isclass(found):
            path = f"{module}.{name}"
            first = seen.setdefault(id(found), path)
            assert first == path or {first, path} == {"inalu.NALU", "inalu.layers.NALU"}


def test_the_reference_has_every_public_name() -> None:
    shown = set(re.findall(r"^::: (\S+)$", (ROOT / "docs/reference.md").read_text(), re.MULTILINE))
    things = {
        f"{module}.{name}": (getattr(importlib.import_module(module), name), module)
        for module, name in names()
    }
    documented = {id(thing) for path, (thing, module) in things.items() if {path, module} & shown}
    missing = [path for path, (thing, _) in things.items() if id(thing) not in documented]
    assert not missing


def test_comments_name_tests_that_are_there() -> None:
    """Private imports name the test that notices when they move."""
    named = {
        test
        for path in modules()
        for test in re.findall(r"\btests/[\w/]+\.py\b", path.read_text())
        if path.parts[len(ROOT.parts)] in (*PACKAGES, SHARED, GATE)
    }
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_importing_verify_takes_no_tensorflow_along() -> None:
    """It costs next to nothing until something of it is used."""
    code = (
        "import sys, verify; print(sorted(m for m in sys.modules if m in {'tensorflow', 'keras'}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
