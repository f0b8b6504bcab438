"""A project of a user's: our wheel in a fresh environment, its suite, and a gate that closes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ci.surroundings import environment

ROOT = Path(__file__).parents[2]


def run(shop: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        command,
        cwd=shop,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


PYTEST = ("-m", "pytest", "-p", "no:cacheprovider")
CHECK = ("check", "--ratchet", "--format", "github")
# Runs pytest or the command, each in its folder, in processes forked from one that has imported
# TensorFlow once.
FORKED = """
import json, os, runpy, sys
import verify.contracts.baseline, verify.contracts.snapshots, verify.contracts.verdict
for folder, output, (program, *arguments) in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        if program == "-m":
            sys.argv, sys.path[0] = arguments, folder
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = [program, *arguments], os.path.dirname(program)
            runpy.run_path(program, run_name="__main__")
    # Now: what is left in the buffer would be printed by the next process, too.
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_the_gate_is_open_while_nothing_changes(python: Path, shop: Path) -> None:
    code = "import verify; print(verify.__file__)"
    origin = subprocess.run(
        [str(python), "-c", code],
        cwd=shop,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert origin.stdout.startswith(str(python.parents[1]))  # the wheel's, not this checkout's
    status, told = run(shop, str(python), *PYTEST)
    assert status == 0, told
    assert "5 passed" in told
    status, told = run(shop, str(python.with_name("loopctl-verify")), *CHECK)
    assert (status, told.startswith("2 kept, 0 broken")) == (0, True), told


CHANGES = {
    "clip": ('"clipping": (-0.1, 0.1), ', "", "orders/head/kernel: not clipped"),
    "variables": ('"variables": "*head*", ', "", "too many: orders/hidden/bias"),
    "loss": ('"loss": "huber"', '"loss": "mae"', "loss: expected Huber"),
    "regularization": (
        'False: {"regularize": True}',
        "False: {}",
        "regularization: expected L2(l2=0.01)",
    ),
}
BY_PYTEST = ("clip", "variables")


@pytest.fixture(scope="module")
def changed(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Status and output of the gate after each change, by its name; with "pytest", of the suite."""
    folder = tmp_path_factory.mktemp("changed")
    command = str(python.with_name("loopctl-verify"))
    programs: dict[str, tuple[Path, tuple[str, ...]]] = {}
    for name, (old, new, _) in CHANGES.items():
        shop = Path(shutil.copytree(ROOT / "ci" / "example", folder / name))
        path = shop / "shop" / "training.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        programs[name] = (shop, (command, *CHECK))
        if name in BY_PYTEST:
            programs[f"{name} pytest"] = (shop, PYTEST)
    asked = [[str(s), str(folder / f"{n}.txt"), [*call]] for n, (s, call) in programs.items()]
    done = subprocess.run(
        [str(python), "-c", FORKED, json.dumps(asked)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    statuses = map(int, done.stdout.split())
    return {
        name: (status, (folder / f"{name}.txt").read_text())
        for name, status in zip(programs, statuses, strict=True)
    }


@pytest.mark.parametrize("name", CHANGES)
def test_the_gate_closes(changed: dict[str, tuple[int, str]], name: str) -> None:
    message = CHANGES[name][2]
    status, told = changed[name]
    assert status == 1, told
    assert told.startswith("::error file=shop.graph.toml,line=")
    assert message in told
    if name in BY_PYTEST:
        status, told = changed[f"{name} pytest"]
        assert status == 1, told
        assert message in told
        assert "the step has changed" in told
