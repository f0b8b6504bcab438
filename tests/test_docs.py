"""The pages in docs/ run as printed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from loopctl import LoopControllerCallback
from loopctl.config import parse
from loopctl.files import load_config

PAGE = Path(__file__).parent.parent / "docs" / "control.md"


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return found


def test_the_page_on_control_runs() -> None:
    scope: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, str(PAGE), "exec"), scope)
    for name in ("adversarial", "thawing", "sparse", "arithmetic"):
        parse(scope[name])
    assert isinstance(scope["second"], LoopControllerCallback)


def test_the_file_on_the_page_is_the_config_on_the_page(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    assert set(tomllib.loads(text)) == {"gate", "late", "async"}
    path = tmp_path / "control.toml"
    path.write_text(text[: text.index("[async")])
    config = load_config(path)
    scope: dict[str, Any] = {}
    exec(compile(blocks("python")[0], str(PAGE), "exec"), scope)
    for name, action in scope["config"].items():
        assert repr(config[name].pop("cond")) == repr(action["cond"])
    assert config["gate"] == {k: v for k, v in scope["config"]["gate"].items() if k != "cond"}
    assert config["late"] == {True: {"loss": False, "regularize": ["hidden"]}}
