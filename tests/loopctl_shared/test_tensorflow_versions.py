"""Who has no TensorFlow, or one that is too old, is told so in one sentence."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from packaging.requirements import Requirement

from loopctl_shared import OLDEST, check_tensorflow, versions

ROOT = Path(__file__).parents[2]


def test_what_is_here_will_do() -> None:
    check_tensorflow()


def test_versions_are_told_without_an_import() -> None:
    told = dict(part.split(" ") for part in versions().split(", "))
    assert told["loopctl"] == importlib.metadata.version("keras-loopctl")
    assert told["TensorFlow"] == tf.__version__
    assert told["Keras"] == keras.__version__
    assert sys.version.startswith(told["Python"])


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "tf-nightly-cpu":
            return "2.22.0.dev1"
        if name == "keras-loopctl":
            return "0.1.0"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert versions().startswith("loopctl 0.1.0, TensorFlow 2.22.0.dev1, Keras not found, Python ")


def test_the_oldest_are_those_of_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra in ("tensorflow", "tensorflow-cpu"):
        told = map(Requirement, project["optional-dependencies"][extra])
        lowest = {
            one.name.removesuffix("-cpu"): bound.version
            for one in told
            for bound in one.specifier
            if bound.operator == ">="
        }
        assert lowest == OLDEST


def test_none_is_required_beside_another() -> None:
    """`tensorflow` beside `tf-nightly`: one overwrites the other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {Requirement(text).name for text in project["dependencies"]} & {*OLDEST} == set()


@pytest.mark.parametrize(
    ("package", "version", "told"),
    [
        ("tensorflow", "2.18.1", "loopctl needs TensorFlow 2.19 or newer; 2.18.1 is installed: "),
        ("tensorflow", "1.15.0", "loopctl needs TensorFlow 2.19 or newer; 1.15.0 is installed: "),
        ("keras", "2.15.0", "loopctl needs Keras 3.8 or newer; 2.15.0 is installed: "),
        ("tensorflow", None, "loopctl needs TensorFlow 2.19 or newer, which is not installed: "),
        ("keras", None, "loopctl needs Keras 3.8 or newer, which is not installed: "),
    ],
)
def test_another_is_refused(
    package: str, version: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.SimpleNamespace(__version__=version) if version else None
    monkeypatch.setitem(sys.modules, package, module)  # type: ignore[arg-type]
    with pytest.raises(ImportError) as caught:
        check_tensorflow()
    message = str(caught.value)
    assert message.startswith(f"{told}pip install 'keras-loopctl[tensorflow]>=")
    assert "[tensorflow-cpu]" in message


@pytest.mark.parametrize("version", ["2.19.0", "2.22.0-dev20260905", "3.0.0", "2.19.0-rc1"])
def test_newer_ones_are_tried(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(__version__=version))  # type: ignore[arg-type]
    check_tensorflow()


def test_what_tensorflow_lacks_itself_is_told_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keras.py").write_text("import no_such_module_of_keras\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keras")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_keras"):
        check_tensorflow()


@pytest.mark.parametrize(
    "code",
    [
        "import loopctl",
        "import inalu",
        "import verify; verify.assert_graph",
        "from verify.contracts import read",
        "import sys; from verify.cli import main; sys.exit(main(['check']))",
    ],
)
def test_every_door_says_so(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['tensorflow'] = None; {code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2)
    last = done.stderr.splitlines()[-1]
    assert "loopctl needs TensorFlow 2.19 or newer, which is not installed: pip install" in last
    assert ("Traceback" in done.stderr) == ("main" not in code)
