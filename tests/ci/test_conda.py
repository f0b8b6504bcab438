"""The recipe for conda says what pyproject.toml says. It is built by no test: conda is not here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

import verify.selfcheck

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "conda" / "recipe.yaml"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]


@pytest.fixture
def recipe() -> Any:
    """The recipe with its context filled in, as builders fill it in."""
    text = RECIPE.read_text("utf-8")
    for name, value in yaml.safe_load(text)["context"].items():
        text = text.replace(f"${{{{ {name} }}}}", value)
    assert set(re.findall(r"\$\{\{ (\w+) \}\}", text)) == {"PYTHON"}
    return yaml.safe_load(text)


def required(texts: list[str]) -> dict[str, str]:
    return {one.name: str(one.specifier) for one in map(Requirement, texts)}


def test_it_is_this_version_of_this_project(recipe: Any) -> None:
    assert recipe["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    assert recipe["about"]["summary"] == PROJECT["description"]
    assert recipe["about"]["license"] == PROJECT["license"]
    licences = {*ROOT.glob("LICENSE"), *ROOT.glob("verify/**/*.LICENSE")}
    assert {ROOT / path for path in recipe["about"]["license_file"]} == licences
    assert (RECIPE.parent / recipe["source"]["path"] / "pyproject.toml").is_file()
    addresses = {recipe["about"][name] for name in ("homepage", "documentation", "repository")}
    assert addresses <= {*PROJECT["urls"].values()}


def test_it_needs_what_the_wheel_needs(recipe: Any) -> None:
    needed = required(recipe["requirements"]["run"])
    assert needed.pop("python") == PROJECT["requires-python"]
    extras = PROJECT["optional-dependencies"]
    assert needed == required([*PROJECT["dependencies"], *extras["tensorflow"]])


def test_it_is_built_with_what_the_wheel_is_built_with(recipe: Any) -> None:
    host = {*recipe["requirements"]["host"]} - {"pip"}
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f"python {oldest}.*" in host
    assert required([*(host - {f"python {oldest}.*"})]) == required(
        PYPROJECT["build-system"]["requires"]
    )


def test_it_brings_the_command(recipe: Any) -> None:
    told = dict(line.split(" = ") for line in recipe["build"]["python"]["entry_points"])
    assert told == PROJECT["scripts"]


def test_its_own_test_plants_a_fault_that_is_there(recipe: Any) -> None:
    (named,) = [
        re.findall('--fault "(.*)"', line)[0]
        for line in recipe["tests"][1]["script"]
        if "--fault" in line
    ]
    assert named in {fault.name for fault in verify.selfcheck.FAULTS}
