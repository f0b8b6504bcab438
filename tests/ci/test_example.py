"""A project of a user's: our wheel in a fresh environment, its suite, and a gate that closes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with our wheel; what that depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("fresh")
    wheels, environment = folder / "wheels", folder / "env"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run([*pip, *built], check=True, capture_output=True)
    (wheel,) = wheels.glob("loopctl-*.whl")
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


def run(python: Path, shop: Path, *arguments: str) -> tuple[int, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("PYTEST_")
    }
    done = subprocess.run(
        [str(python), "-m", *arguments],
        cwd=shop,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


PYTEST = ("pytest", "-n", "2", "-p", "no:cacheprovider")
CHECK = ("verify", "check", "--ratchet", "--format", "github")


def test_the_gate_is_open_while_nothing_changes(python: Path, shop: Path) -> None:
    code = "import verify; print(verify.__file__)"
    origin = subprocess.run(
        [str(python), "-c", code], cwd=shop, capture_output=True, text=True, check=True
    )
    assert origin.stdout.startswith(str(python.parents[1]))  # the wheel's, not this checkout's
    status, told = run(python, shop, *PYTEST)
    assert status == 0, told
    assert "5 passed" in told
    status, told = run(python, shop, *CHECK)
    assert (status, told.startswith("2 kept, 0 broken")) == (0, True), told


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ('"clipping": (-0.1, 0.1), ', "", ["orders/head/kernel: not clipped"]),
        ('"variables": "*head*", ', "", ["too many: orders/hidden/bias"]),
        ('"loss": "huber"', '"loss": "mae"', ["loss: expected Huber"]),
        ('False: {"regularize": True}', "False: {}", ["regularization: expected L2(l2=0.01)"]),
    ],
    ids=["clip", "variables", "loss", "regularization"],
)
def test_the_gate_closes(python: Path, shop: Path, old: str, new: str, messages: list[str]) -> None:
    path = shop / "shop" / "training.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    status, told = run(python, shop, *CHECK)
    assert status == 1, told
    assert told.startswith("::error file=shop.graph.toml,line=")
    assert all(message in told for message in messages)
    if new == "":
        status, told = run(python, shop, *PYTEST)
        assert status == 1, told
        assert all(message in told for message in messages)
        assert "the step has changed" in told
