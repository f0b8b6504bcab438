"""Where `verify` is, or would be, imported from."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

import verify
from loopctl_gate import in_the_way

OURS = str(Path(verify.__file__).parent)


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's own module, in a folder that nothing leads to yet; nothing is imported."""
    monkeypatch.delitem(sys.modules, "verify")
    path = tmp_path / "theirs" / "verify.py"
    path.parent.mkdir()
    path.write_text("raise SystemExit('was run')\n")
    return path


def told(found: str | None) -> str:
    return (
        f"nothing is verified: `import verify` finds {found!r}, not loopctl's package {OURS!r}; "
        "rename the former, or move it out of the way"
    )


def test_ours_is_ours(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_the_way() is None
    monkeypatch.setitem(sys.modules, "verify", verify)
    assert in_the_way() is None


def test_on_the_path_before_ours(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if ours is in the working folder, which this process does not import from first."""
    monkeypatch.chdir(Path(OURS).parent)
    monkeypatch.setattr(sys, "path", [str(theirs.parent), *sys.path])
    assert in_the_way() == told(str(theirs))


def test_on_the_path_behind_ours(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(theirs.parent)])
    assert in_the_way() is None


def test_in_the_working_folder(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From where a factory would get it, though ours has been imported by then."""
    monkeypatch.chdir(theirs.parent)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part])
    assert in_the_way() == told(str(theirs))
    monkeypatch.setitem(sys.modules, "verify", verify)
    assert in_the_way() == told(str(theirs))


def test_imported_already(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("verify")
    monkeypatch.setitem(sys.modules, "verify", module)
    assert in_the_way() == told(None)
    module.__file__ = str(theirs)
    assert in_the_way() == told(str(theirs))


def test_nowhere(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(theirs.parent.parent)
    monkeypatch.setattr(sys, "path", [])
    assert in_the_way() == told(None)


def test_a_name_is_printable(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = theirs.parent.rename(theirs.parent.with_name("a\n::error::forged\x1b[2J"))
    monkeypatch.chdir(folder)
    message = in_the_way()
    assert message is not None
    assert message.isprintable()
