"""A project of a user's, and an environment with our wheel in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with our wheel; what that depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("fresh")
    wheels, environment = folder / "wheels", folder / "env"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run([*pip, *built], check=True, capture_output=True)
    (wheel,) = wheels.glob("keras_loopctl-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    installed = ["--python", str(python), "install", "--no-deps", str(wheel)]
    subprocess.run([*pip, *installed], check=True, capture_output=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "ci" / "example", tmp_path / "shop"))
