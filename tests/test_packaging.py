"""What is built and told of it: the wheel, its metadata, and the files that hosts read."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import trove_classifiers
import yaml

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
PACKAGES = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
# Of which less than 800 kB are there now: nobody adds a picture or a bundle unawares.
MOST = 1_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps"]
    built = [*pip, "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(built, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {*PACKAGES}
    assert {f"{package}/py.typed" for package in PACKAGES} <= {*names}
    assert [name for name in names if re.search(r"(^|/)(tests?|__pycache__)/|conftest", name)] == []
    kinds = {Path(name).suffix for name in names if ".dist-info/" not in name}
    assert kinds <= {".py", ".typed", ".json", ".js", ".css", ".html", ".LICENSE", ".txt", ".md"}


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < MOST


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    told = email.message_from_bytes(archive.read(name))
    assert {line.split(", ")[0] for line in told.get_all("Project-URL") or []} == {*PROJECT["urls"]}
    required = [
        line.split(";")[0] for line in told.get_all("Requires-Dist") or [] if "extra" not in line
    ]
    assert {re.split(r"[<>=]", line)[0] for line in required} == {
        *("networkx", "numpy", "rich", "pydantic", "tomlkit")
    }
    (points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert b"loopctl-verify = loopctl_gate:main" in archive.read(points)
    assert b"[pytest11]" in archive.read(points)


def test_classifiers_are_known_and_true() -> None:
    told = PROJECT["classifiers"]
    assert {*told} <= trove_classifiers.classifiers
    assert "Framework :: Pytest" in told
    minors = {one.rpartition(".")[2] for one in told if re.search(r"Python :: 3\.\d+$", one)}
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    tested = ci["jobs"]["all"]["strategy"]["matrix"]["python"]
    assert {f"3.{minor}" for minor in minors} == {*tested}
    assert PROJECT["requires-python"] == f">={min(tested)}"


def hosted() -> list[Path]:
    folders = [ROOT / ".github", ROOT / "conda", ROOT / "ci" / "example" / ".github"]
    inside = [
        path for folder in folders for path in folder.rglob("*") if path.suffix in {".yml", ".yaml"}
    ]
    return sorted([*inside, ROOT / ".readthedocs.yaml"])


@pytest.mark.parametrize("path", hosted(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_hosts_read_can_be_read(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


def test_the_docs_are_built_with_extras_that_are_there() -> None:
    told: Any = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text("utf-8"))
    (install,) = told["python"]["install"]
    assert {*install["extra_requirements"]} <= {*PROJECT["optional-dependencies"]}
    assert (ROOT / told["mkdocs"]["configuration"]).is_file()


def test_issue_forms_have_what_forms_need() -> None:
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"):
        form = yaml.safe_load(path.read_text("utf-8"))
        assert {"name", "description", "body"} <= {*form}
        ids = [part["id"] for part in form["body"]]
        assert len(ids) == len({*ids})
        assert {part["type"] for part in form["body"]} <= {"input", "textarea", "dropdown"}


def test_there_is_one_address_of_the_project() -> None:
    source = PROJECT["urls"]["Source"]
    files = [*hosted(), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "mkdocs.yml"]
    told = {
        address
        for path in files
        for address in re.findall(
            r"https://github\.com/[\w-]*loopctl[\w/-]*", path.read_text("utf-8")
        )
    }
    assert all(address.startswith(source) for address in told)
