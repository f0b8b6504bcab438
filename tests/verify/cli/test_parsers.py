"""Help, errors and completion: what a person sees before anything is verified."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from verify.cli import main
from verify.cli.examples import examples

ROOT = Path(__file__).parents[3]
RED = "\x1b[1;31m"
COMMANDS = ("check", "lint", "show", "draw", "diff", "record", "init", "infer", "selfcheck")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    return capsys.readouterr().out


def test_these_are_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, "--help")
    listed = [
        line.split()[0] for line in told.splitlines() if line[:5].strip() and line[:4] == "    "
    ]
    assert {*COMMANDS} <= {*listed}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_are_right(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = shown(capsys, command, "--help")
    assert examples(command) in told
    calls = [line.split()[1:] for line in told.splitlines() if line.startswith("  loopctl-verify ")]
    assert calls
    monkeypatch.setattr(f"verify.cli.{command}.run", lambda options: 7)
    assert [main(call) for call in calls] == [7] * len(calls)


def on_a_terminal(arguments: list[str], **variables: str) -> str:
    ours, theirs = pty.openpty()
    names = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    done = subprocess.run(
        [sys.executable, "-m", "verify", *arguments],
        cwd=ROOT,
        env={**names, "TERM": "xterm-256color", **variables},
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    told = os.read(ours, 100_000).decode()
    os.close(ours)
    assert (done.returncode, done.stdout) == (2, b"")
    return told


WRONG = ["chekc"]


def test_errors_are_red_on_a_terminal() -> None:
    told = on_a_terminal(WRONG)
    assert RED in told
    assert "invalid choice: 'chekc'" in told


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_errors_are_plain_where_colours_are_not_wanted(variables: dict[str, str]) -> None:
    told = on_a_terminal(WRONG, **variables)
    assert "\x1b[3" not in told
    assert "\x1b[1;3" not in told
    assert "invalid choice: 'chekc'" in told


def test_errors_are_plain_where_they_are_piped() -> None:
    command = [sys.executable, "-m", "verify", *WRONG]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "\x1b" not in done.stderr
    assert done.stderr.startswith("usage: loopctl-verify")


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("loopctl-verify ch", ["check"]),
        ("loopctl-verify check --format s", ["sarif"]),
        ("loopctl-verify check --rat", ["--ratchet"]),
        ("loopctl-verify selfcheck --", ["--all", "--fault", "--help", "--jobs"]),
    ],
)
def test_the_shell_completes(line: str, completed: list[str], tmp_path: Path) -> None:
    found = tmp_path / "found"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(found),
        "_ARGCOMPLETE_IFS": "\n",
    }
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, loopctl_gate; sys.modules['tensorflow'] = None; loopctl_gate.main()",
        ],
        cwd=ROOT,
        env={**os.environ, **asked, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        check=True,
        capture_output=True,
    )
    assert sorted(told.strip() for told in found.read_text().split("\n")) == completed
