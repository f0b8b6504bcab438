"""`loopctl-verify`, in processes of its own: where a project's `verify` takes the place of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What pip writes into the console script. By -P the working folder is not on the path, as there.
COMMAND = (sys.executable, "-P", "-c", "import sys, loopctl_gate; sys.exit(loopctl_gate.main())")


def run(folder: Path, *command: str, path: Path = ROOT) -> tuple[int, str, str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("theirs", ["verify.py", "verify/__init__.py"])
def test_a_module_of_the_projects_own_is_named_and_not_run(tmp_path: Path, theirs: str) -> None:
    path = tmp_path / theirs
    path.parent.mkdir(exist_ok=True)
    path.write_text("print('all is well')\n")
    status, printed, told = run(tmp_path, *COMMAND, "check")
    assert (status, printed) == (2, "")
    (line,) = told.splitlines()
    assert f"`import verify` finds {str(path)!r}, not loopctl's package" in line


def test_otherwise_the_command_runs(tmp_path: Path) -> None:
    """Both by its name and as a module; a folder that Python does not import is in nobody's way."""
    (tmp_path / "verify").mkdir()
    for command in (COMMAND, (sys.executable, "-m", "verify")):
        status, printed, told = run(tmp_path, *command, "check", "--help")
        assert (status, told) == (0, "")
        assert printed.startswith("usage: loopctl-verify check ")
