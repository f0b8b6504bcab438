"""The action and the hooks, as a stranger's repository uses them: their own shell, run by hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.surroundings import environment

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
# Stands for GitHub's command: keeps what it is asked, and tells of the comments that are there.
GH = """#!/bin/sh
printf '%s\\n' "$*" >>"$CALLS"
case "$*" in *--paginate*) printf "$COMMENTS" ;; esac
exit "$GH_STATUS"
"""
BROKEN = ('"clipping": (-0.1, 0.1), ', "")


def git(folder: Path, *arguments: str) -> None:
    told = ["-c", "user.name=A Stranger", "-c", "user.email=stranger@example.org"]
    subprocess.run(["git", *told, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(shop: Path) -> Path:
    """The shop in a folder of a repository of its own, whose last commit takes the clip away."""
    training = shop / "shop" / "training.py"
    git(shop.parent, "init", "-q")
    git(shop.parent, "add", ".")
    git(shop.parent, "commit", "-qm", "as it was")
    old, new = BROKEN
    text = training.read_text("utf-8")
    assert old in text
    training.write_text(text.replace(old, new), "utf-8")
    git(shop.parent, "commit", "-qam", "a little tidier")
    return shop.parent


class Runner:
    """Runs steps of the action in a folder, with what GitHub gives them."""

    def __init__(self, python: Path, folder: Path, temporary: Path) -> None:
        self.folder, self.python, self.temporary = folder, python, temporary
        self.calls = self.temporary / "calls"
        self.calls.touch()
        (self.temporary / "gh").write_text(GH)
        (self.temporary / "gh").chmod(0o755)
        self.outputs = self.temporary / "outputs"
        self.summary = self.temporary / "summary"
        self.known: dict[str, str] = {
            **{f"inputs.{name}": told["default"] for name, told in ACTION["inputs"].items()},
            "inputs.working-directory": "shop",
            "inputs.token": "a token",
            "github.event.pull_request.number": "7",
        }

    def run(self, name: str, **more: str) -> tuple[int, str]:
        step = STEPS[name]
        assert step["shell"] == "bash"
        path = f"{self.temporary}:{self.python.parent}:{os.environ['PATH']}"
        variables = {
            **environment(),
            **{name: self.filled(text) for name, text in step.get("env", {}).items()},
            "PATH": path,
            "RUNNER_TEMP": str(self.temporary),
            "GITHUB_OUTPUT": str(self.outputs),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "stranger/things",
            "GITHUB_SHA": "0a1b2c",
            "CALLS": str(self.calls),
            "COMMENTS": "",
            "GH_STATUS": "0",
            **more,
        }
        script = self.temporary / "script.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.folder / self.filled(step.get("working-directory", ".")),
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        for line in self.outputs.read_text().splitlines() if self.outputs.exists() else []:
            key, _, value = line.partition("=")
            self.known[f"steps.{step.get('id')}.outputs.{key}"] = value
        return done.returncode, done.stdout

    def filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: self.known[found[1]], text)


@pytest.fixture
def runner(python: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(python, repository, tmp_path_factory.mktemp("runner"))


def test_a_fault_is_told_in_every_place(runner: Runner) -> None:
    runner.known["inputs.arguments"] = "--ratchet"
    status, told = runner.run("Check")
    assert status == 0  # the verdict comes last, once all is told
    lines = [line for line in told.splitlines() if line.startswith("::error ")]
    assert lines
    assert all(line.startswith("::error file=shop/shop.graph.toml,line=") for line in lines)
    assert runner.known["steps.check.outputs.status"] == "1"
    results = json.loads(Path(runner.known["steps.check.outputs.sarif"]).read_text())
    place = results["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "shop/shop.graph.toml"

    report = Path(runner.known["steps.check.outputs.report"]).read_text("utf-8")
    assert report == runner.summary.read_text("utf-8")
    assert report.startswith("<!-- loopctl-verify -->\n\n### 1 of 2 training steps is not as meant")
    training = (runner.folder / "shop" / "shop" / "training.py").read_text().splitlines()
    made = 1 + next(i for i, line in enumerate(training) if line.startswith("def controlled"))
    address = "https://github.com/stranger/things/blob/0a1b2c/shop/shop"
    assert f"[`shop/shop/training.py:{made}`]({address}/training.py#L{made})" in report
    assert re.search(
        rf"`clipping` is not what \[.*\]\({address}\.graph\.toml#L\d+\) promises", report
    )
    assert "orders/head/kernel: not clipped" in report

    assert runner.run("Comment") == (0, "")
    read, written = runner.calls.read_text().splitlines()
    assert read.startswith("api --paginate repos/stranger/things/issues/7/comments --jq ")
    assert '"<!-- loopctl-verify -->"' in read  # how a report begins
    posted = "api --silent --method POST repos/stranger/things/issues/7/comments -F body=@"
    assert written == posted + runner.known["steps.check.outputs.report"]
    assert runner.run("Verdict") == (1, "")


REPORT = {"steps.check.outputs.report": "/some/report.md"}


@pytest.mark.parametrize(
    ("status", "comments", "asked"),
    [
        ("1", "", ["POST repos/stranger/things/issues/7/comments"]),
        ("1", "41\\n42\\n", ["PATCH repos/stranger/things/issues/comments/41"]),
        ("0", "41\\n", ["PATCH repos/stranger/things/issues/comments/41"]),
        ("0", "", []),
    ],
)
def test_there_is_one_comment_at_most(
    runner: Runner, status: str, comments: str, asked: list[str]
) -> None:
    runner.known |= {**REPORT, "steps.check.outputs.status": status}
    assert runner.run("Comment", COMMENTS=comments) == (0, "")
    written = [line for line in runner.calls.read_text().splitlines() if "--method" in line]
    assert [line.split("--method ")[1].split(" -F")[0] for line in written] == asked


@pytest.mark.parametrize("comments", ["", "41\\n"])
def test_a_fork_that_may_not_comment_fails_nothing(runner: Runner, comments: str) -> None:
    runner.known |= {**REPORT, "steps.check.outputs.status": "1"}
    status, told = runner.run("Comment", COMMENTS=comments, GH_STATUS="1")
    assert status == 0
    assert told.startswith("::warning title=loopctl-verify::The pull request could not be")


def test_a_wrong_call_is_no_report(runner: Runner) -> None:
    runner.known |= {"inputs.files": "away.graph.toml"}
    assert runner.run("Check")[0] == 0
    assert runner.known["steps.check.outputs.status"] == "2"
    assert "steps.check.outputs.report" not in runner.known
    assert runner.run("Verdict")[0] == 2


def test_the_project_is_installed_as_it_says(runner: Runner) -> None:
    runner.known["inputs.install"] = "echo one > asked; false | cat; echo two >> asked"
    assert runner.run("Install")[0] == 1
    assert (runner.folder / "shop" / "asked").read_text() == "one\n"
    runner.known["inputs.install"] = "echo 'it is `quoted` \"twice\"' > asked"
    assert runner.run("Install")[0] == 0
    assert (runner.folder / "shop" / "asked").read_text() == 'it is `quoted` "twice"\n'


def test_no_text_from_outside_becomes_a_command() -> None:
    """What is filled in goes through variables: a branch's name may hold `$(...)`."""
    for step in STEPS.values():
        assert "${{" not in step.get("run", "")


def test_what_steps_ask_for_is_there() -> None:
    text = (ROOT / "action.yml").read_text("utf-8")
    assert {*re.findall(r"\binputs\.([\w-]+)", text)} == {*ACTION["inputs"]}
    outputs = {*re.findall(r"steps\.check\.outputs\.(\w+)", text)}
    assert outputs == {*re.findall(r'echo "(\w+)=.*GITHUB_OUTPUT', STEPS["Check"]["run"])}


@pytest.mark.parametrize(
    ("hook", "arguments", "status"),
    [
        ("loopctl-verify-check", [], 1),
        ("loopctl-verify-lint", ["shop.graph.toml"], 0),
    ],
)
def test_hooks_run(
    hook: str, arguments: list[str], status: int, python: Path, repository: Path
) -> None:
    (told,) = [one for one in HOOKS if one["id"] == hook]
    command = told["entry"].split()
    assert shutil.which(command[0], path=str(python.parent))
    names = arguments if told.get("pass_filenames", True) else []
    assert all(re.search(told["files"], name) for name in arguments)
    done = subprocess.run(
        [str(python.parent / command[0]), *command[1:], *names],
        cwd=repository / "shop",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr


def test_hooks_have_what_hooks_need() -> None:
    fields = {"id", "name", "description", "entry", "language", "files", "pass_filenames"}
    for hook in HOOKS:
        told: Mapping[str, Any] = hook
        assert {"id", "name", "entry", "language"} <= {*told} <= {*fields, "require_serial"}
        assert told["language"] == "system"  # the project's code, with the project's TensorFlow
