"""The pages in docs/ run as printed."""

from __future__ import annotations

import doctest
import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import inalu
import loopctl
import verify
from examples.__main__ import PROGRAMS
from loopctl import LoopControllerCallback, presets
from loopctl.config import load_config, parse

DOCS = Path(__file__).parent.parent / "docs"
CONTROL = DOCS / "control.md"
SESSIONS = sorted(p.name for p in DOCS.rglob("*.md") if "```pycon" in p.read_text("utf-8"))


def blocks(language: str, page: Path = CONTROL) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return found


@pytest.mark.parametrize("name", SESSIONS)
def test_sessions_on_a_page_are_what_python_prints(name: str) -> None:
    text = "\n".join(blocks("pycon", DOCS / name))
    session = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    told: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session, out=told.append)
    assert outcome.attempted > 0
    assert outcome.failed == 0, "".join(told)


def test_the_reference_names_what_is_there() -> None:
    names = re.findall(r"^::: (\S+)$", (DOCS / "reference.md").read_text("utf-8"), re.MULTILINE)
    for name in names:
        assert pkgutil.resolve_name(name) is not None
    for package in (loopctl, verify, inalu):
        public = {f"{package.__name__}.{name}" for name in package.__all__}
        told = {name for name in names if name.startswith(f"{package.__name__}.")}
        # A layer stands among all layers.
        assert public - told <= {"inalu.NALU"}


def test_everything_in_the_reference_has_an_example() -> None:
    """What is run on the page is run by test_sessions_on_a_page_are_what_python_prints."""
    page = (DOCS / "reference.md").read_text("utf-8")
    names = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    parts = re.split(r"^::: \S+$", page, flags=re.MULTILINE)[1:]
    lacking = [n for n, part in zip(names, parts, strict=True) if not re.search("```py", part)]
    assert lacking == []


def test_the_page_on_control_runs() -> None:
    scope: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, str(CONTROL), "exec"), scope)
    presets = ("flat", "dp", "tuned", "vae", "student", "critic", "views", "values")
    for name in ("adversarial", "thawing", "sparse", "arithmetic", *presets):
        parse(scope[name])
    assert isinstance(scope["second"], LoopControllerCallback)


def test_the_file_on_the_page_is_the_config_on_the_page(tmp_path: Path) -> None:
    text, other = blocks("toml")
    assert set(tomllib.loads(text)) == {"gate", "late", "async"}
    path = tmp_path / "control.toml"
    path.write_text(text[: text.index("[async")])
    config = load_config(path)
    scope: dict[str, Any] = {}
    exec(compile(blocks("python")[0], str(CONTROL), "exec"), scope)
    for name, action in scope["config"].items():
        assert repr(config[name].pop("cond")) == repr(action["cond"])
    assert config["gate"] == {k: v for k, v in scope["config"]["gate"].items() if k != "cond"}
    assert config["late"] == {True: {"loss": False, "regularize": ["hidden"]}}
    path.write_text(other)
    assert load_config(path)["learn"][True] == presets.distillation(temperature=3.0)["learn"][True]


def test_each_picture_of_a_preset_is_there_and_shown() -> None:
    pages = (CONTROL.parent / "howto.md").read_text()
    names = [program.__name__.rpartition(".")[2] for program in PROGRAMS]
    assert sorted(re.findall(r"\]\(presets/(\w+)\.png\)", pages)) == names
    for name in names:
        assert 5_000 < (CONTROL.parent / "presets" / f"{name}.png").stat().st_size <= 60_000
        assert f"`examples/{name}.py`" in pages


def test_the_page_on_architecture_names_modules_that_are_there() -> None:
    page = (DOCS / "architecture.md").read_text("utf-8")
    packages = "loopctl|loopctl_shared|loopctl_gate|verify|inalu"
    named = set(re.findall(rf"`((?:{packages})(?:\.[a-z_]+)*)`", page))
    assert len(named) > 60
    assert [name for name in sorted(named) if pkgutil.resolve_name(name) is None] == []
    paths = set(re.findall(r"`((?:loopctl|verify|inalu)/[\w/]*(?:\.py)?)`", page))
    assert [path for path in sorted(paths) if not (DOCS.parent / path).exists()] == []


def test_the_page_on_architecture_names_every_room() -> None:
    page = (DOCS / "architecture.md").read_text("utf-8")
    for package in ("loopctl", "verify"):
        folders = (DOCS.parent / package).glob("*/__init__.py")
        rooms = {f"{package}.{folder.parent.name}" for folder in folders}
        assert {room for room in rooms if f"`{room}`" not in page} == set()
