"""ci/env.sh, which every script sources, with a Python that only writes down what it is told."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# On PATH it stands for an interpreter; `-m venv` copies it into the environment, where
# installing fails as long as a file named `offline` lies in the clone, and uv's as long as one
# named `settings` does.
FAKE = """#!/bin/sh
echo "$*" >>calls
case "$*" in
    "-c import sys"*) exit 0 ;;
    --version) echo "Python 3.11.0" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip "*) [ ! -e offline ] ;;
    "-m uv "*) [ ! -e offline ] && [ ! -e settings ] ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A clone and a PATH, `tools`, that holds no Python yet."""
    clone = tmp_path / "a clone"
    shutil.copytree(ROOT / "ci", clone / "ci")
    shutil.copy(ROOT / "pyproject.toml", clone)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "dirname", "cksum", "rm", "mkdir", "cp", "cat", "basename"):
        (tools / name).symlink_to(shutil.which(name))
    return clone


def put_python(clone, text=FAKE):
    python = clone.parent / "tools" / "python3.11"
    python.write_text(text)
    python.chmod(0o755)


def run(clone, script="set -eu; source ci/env.sh; echo ready $PYTHON", **variables):
    (clone / "calls").unlink(missing_ok=True)
    environment = {"PATH": str(clone.parent / "tools"), **variables}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    calls = (clone / "calls").read_text().splitlines() if (clone / "calls").exists() else []
    return done, [call for call in calls if call.startswith("-m ")]


def test_no_python(clone):
    done, _ = run(clone)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_python_that_is_too_old_is_passed_over(clone):
    put_python(clone, "#!/bin/sh\nexit 1\n")
    assert run(clone)[0].returncode == 1


def test_installs_once(clone):
    put_python(clone)
    done, calls = run(clone)
    assert done.stdout.strip() == f"ready {clone}/.venv/bin/python"
    assert [call.split()[1] for call in calls] == ["venv", "pip", "pip", "uv"]
    # Our former name, whose plugin pytest would look for.
    assert calls[1].startswith("-m pip uninstall ")
    assert calls[1].endswith(" loopctl")
    assert calls[2].endswith(" uv")
    assert calls[3].endswith(f"-e {clone}[test,plot,board,files,experiment]")
    done, calls = run(clone)
    assert (done.returncode, calls) == (0, [])
    assert done.stderr == ""


def test_half_finished_install_is_done_again(clone):
    put_python(clone)
    (clone / "offline").touch()
    assert run(clone)[0].returncode != 0
    (clone / "offline").unlink()
    done, calls = run(clone)
    assert done.returncode == 0
    assert [call.split()[1] for call in calls] == ["venv", "pip", "pip", "uv"]


def test_where_uv_cannot_install_pip_does(clone):
    put_python(clone)
    (clone / "settings").touch()
    done, calls = run(clone)
    assert done.stdout.strip() == f"ready {clone}/.venv/bin/python"
    assert "pip tries, with its own settings" in done.stderr
    assert [call.split()[1] for call in calls] == ["venv", "pip", "pip", "uv", "pip"]
    wanted = f"--quiet -e {clone}[test,plot,board,files,experiment]"
    assert calls[3].endswith(wanted)
    assert calls[4].endswith(wanted)


def test_changed_requirements_and_a_moved_clone_install_again(clone):
    put_python(clone)
    run(clone)
    with (clone / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert len(run(clone)[1]) == 4
    moved = clone.rename(clone.with_name("moved"))
    assert len(run(moved)[1]) == 4
    assert len(run(moved)[1]) == 0


def test_arguments_reach_pytest(clone):
    put_python(clone)
    done, calls = run(clone, "bash ci/test -k 'one or two' -x")
    assert done.returncode == 0
    assert calls[-1] == "-m pytest -n auto --dist worksteal -k one or two -x"


def test_scripts_are_executable():
    assert all(os.access(ROOT / path, os.X_OK) for path in ("ci/test", "ci/demo", ".ci/run"))


def test_the_oldest_versions_have_an_environment_of_their_own(clone):
    put_python(clone)
    done, calls = run(clone, LOOPCTL_VERSIONS="oldest")
    assert done.stdout.strip() == f"ready {clone}/.venv-oldest/bin/python"
    assert f"--constraint {clone}/ci/oldest.txt" in calls[3]
    done, _ = run(clone, LOOPCTL_VERSIONS="odd")
    assert done.returncode == 2
    assert "oldest or newest" in done.stderr


def test_the_oldest_versions_are_those_of_the_lower_bounds():
    listed = (ROOT / "ci" / "oldest.txt").read_text().split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lower = project["optional-dependencies"]["tensorflow"]
    for name in ("tensorflow", "keras"):
        (pinned,) = (one.removeprefix(f"{name}==") for one in listed if one.startswith(f"{name}=="))
        (bound,) = (one for one in lower if one.startswith(f"{name}>="))
        assert bound.startswith(f"{name}>={pinned.removesuffix('.0')},")
