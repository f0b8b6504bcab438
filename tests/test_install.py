"""What our texts tell people to install and to run is ours, whatever else has such a name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NAME, EXTRAS = PROJECT["name"], PROJECT["optional-dependencies"]
BOUND = ">=" + ".".join(PROJECT["version"].split(".")[:2])
FOLDERS = [
    *("loopctl", "loopctl_shared", "loopctl_gate", "verify", "inalu"),
    *("docs", "examples", "benchmarks", "ci", ".ci", ".github", "conda"),
]
TYPES = {".md", ".py", ".toml", ".yml", ".yaml", ".ipynb", ".cff", ".sh", ".txt", ""}
# Without what leads to it or goes on: a path, a module, another distribution, a command.
OTHERS = re.compile(r"(?<![\w./-])loopctl(?![\w/-]|\.\w)")
EXTRA_OF_OTHERS = re.compile(r"(?<![\w-])loopctl\[[a-z]")
REQUIRED = re.compile(
    rf"{re.escape(NAME)}(?:\[(?P<extras>[a-z,-]+)\])?(?P<rest> @ git\+|[<>=!~]+[\w.]+)?"
)
INSTALLS = re.compile(r"\bpip\b.*?\binstall\b(?P<what>.*)")


def texts() -> list[Path]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    paths += ROOT.glob("*.md")
    paths.append(ROOT / "CITATION.cff")
    return sorted(path for path in paths if path.is_file() and path.suffix in TYPES)


def complaints(text: str) -> list[str]:
    """What a text would have people install that is not this project, or not this version of it."""
    # Commands in prose are broken over lines like any other word.
    told = re.sub(r"\binstall\n", "install ", text)
    found = []
    for line in told.splitlines():
        command = INSTALLS.search(line)
        if EXTRA_OF_OTHERS.search(line) or (command and OTHERS.search(command["what"])):
            found.append(f"another project's: {line}")
        for named in REQUIRED.finditer(line):
            unknown = set((named["extras"] or "").split(",")) - {"", *EXTRAS}
            asked_for = named["extras"] or (command and named.start() > command.start("what"))
            if unknown or (asked_for and named["rest"] not in (" @ git+", BOUND)):
                found.append(f"not as in pyproject.toml: {line}")
    return found


def test_what_is_installed_is_ours() -> None:
    found = {path: complaints(path.read_text("utf-8")) for path in texts()}
    assert len(found) > 200
    assert {path: told for path, told in found.items() if told} == {}


@pytest.mark.parametrize(
    "text",
    [
        "pip install loopctl",
        "`pip install\nloopctl`",
        "To start, pip install loopctl.",
        "python -m pip install -q 'loopctl>=0.1'",
        "needs it: pip install 'loopctl[plot]'",
        'test = ["loopctl[pytest]", "pytest-xdist>=3.6"]',
        f"pip install {NAME}",
        f"pip install '{NAME}[plot]'",
        f"pip install '{NAME}[plots]{BOUND}'",
        f"pip install '{NAME}[plot]>=99'",
    ],
)
def test_what_is_not_ours_is_seen(text: str) -> None:
    assert len(complaints(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"pip install '{NAME}[plot,files]{BOUND}'",
        f"pip install '{NAME}[plot] @ git+file:///clone'",
        "pip uninstall loopctl",
        "pip install -e . && python -m loopctl_gate",
        f"the distribution {NAME}; import loopctl",
    ],
)
def test_what_is_ours_passes(text: str) -> None:
    assert complaints(text) == []


def test_the_example_depends_on_this_version() -> None:
    example = tomllib.loads((ROOT / "ci/example/pyproject.toml").read_text("utf-8"))["project"]
    assert example["dependencies"] == [f"{NAME}[tensorflow]{BOUND}"]
    assert f"{NAME}[pytest]{BOUND}" in example["optional-dependencies"]["test"]


def test_the_command_is_the_one_that_no_file_replaces() -> None:
    """`python -m verify` runs a `verify.py` in the working folder, if there is one."""
    (command,) = PROJECT["scripts"]
    told = {
        str(path.relative_to(ROOT)): [
            line for line in path.read_text("utf-8").splitlines() if "python -m verify" in line
        ]
        for path in texts()
    }
    assert command in (ROOT / "docs/gate.md").read_text("utf-8")
    # Where it is told of: what it was, and why it should not be used.
    but = {"CHANGELOG.md", "docs/versions.md", "docs/gate.md", "verify/__main__.py"}
    assert {path for path, lines in told.items() if lines} == but
    assert len(told["docs/gate.md"]) == 1
