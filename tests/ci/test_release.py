"""A release: what has to be true of its tag, and what its workflow may do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
READ = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md", "conda/recipe.yaml")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def workflow() -> Any:
    return yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "conda").mkdir()
    for name in READ:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def asked(clone: Path, tag: str, *more: str) -> tuple[int, list[str]]:
    command = [sys.executable, str(ROOT / "ci/release.py"), tag, "--root", str(clone), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


def test_what_is_ready_gets_its_notes(clone: Path) -> None:
    notes = clone / "notes.md"
    assert asked(clone, f"v{VERSION}", "--notes", str(notes)) == (0, [])
    text = notes.read_text("utf-8")
    assert text.startswith("### Added")
    assert "\n## " not in text


def test_all_that_is_amiss_is_told_at_once(clone: Path) -> None:
    status, told = asked(clone, "v99.0.0")
    assert status == 1
    assert [line.partition(":")[0] for line in told] == [
        "pyproject.toml",
        "CITATION.cff",
        "conda/recipe.yaml",
        "CHANGELOG.md",
    ]


@pytest.mark.parametrize("name", READ)
def test_each_file_counts(clone: Path, name: str) -> None:
    path = clone / name
    path.write_text(
        re.sub(rf"\b{re.escape(VERSION)}\b", "98.7.6", path.read_text("utf-8")), "utf-8"
    )
    status, told = asked(clone, f"v{VERSION}")
    assert (status, len(told)) == (1, 1)
    assert told[0].startswith(name)


def test_a_tag_is_a_version(clone: Path) -> None:
    status, told = asked(clone, VERSION)
    assert (status, told) == (
        1,
        [f"{VERSION} is no version; a tag is written v1.2.3, or v1.2.3rc1"],
    )


def test_the_workflow_asks_for_the_tag_and_the_tests_before_it_builds() -> None:
    steps = [step.get("run", step.get("uses")) for step in workflow()["jobs"]["build"]["steps"]]
    order = [
        "python ci/release.py",
        ".ci/run",
        "python -m build",
        "actions/attest-build-provenance",
    ]
    places = [next(i for i, told in enumerate(steps) if told.startswith(o)) for o in order]
    assert places == sorted(places)


def test_each_job_may_do_what_it_is_for_and_no_more() -> None:
    """PyPI's trusted publishing needs a token of the job that publishes; nobody has a password."""
    told = workflow()
    assert told["permissions"] == {}
    assert {name: job["permissions"] for name, job in told["jobs"].items()} == {
        "build": {"contents": "read", "id-token": "write", "attestations": "write"},
        "publish": {"id-token": "write"},
        "page": {"contents": "write"},
    }
    assert told["jobs"]["publish"]["needs"] == "build"
    assert told["jobs"]["publish"]["environment"]["name"] == "pypi"
    (publish,) = [
        step for step in told["jobs"]["publish"]["steps"] if "pypi-publish" in step["uses"]
    ]
    assert publish["with"] == {"attestations": True}
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text("utf-8")
