"""`loopctl-verify record`, and `diff` of what it has written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.verify.contracts import recorded
from verify.cli import main

_HERE = recorded.__name__
_GOOD, _OTHER = f"{_HERE}:base", f"{_HERE}:rate"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of two steps."""
    path = tmp_path_factory.mktemp("records") / "steps.json"
    assert main(["record", _GOOD, f"{_HERE}:noisy", "-o", str(path)]) == 0
    return path


def test_a_record_of_steps_that_mean_the_same(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(path), _GOOD]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"same   {_GOOD} ({path}:2)\n1 same, 0 other (")
    assert main(["diff", str(path), str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 same, 0 other (")


def test_a_record_of_a_step_that_means_another_thing(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "changed.json"
    content = path.read_text("utf-8").splitlines(keepends=True)
    changed.write_text(f"{content[0]}{content[1].replace(_GOOD, _OTHER)}".rstrip(",\n") + "]}")
    assert main(["diff", str(changed)]) == 1
    told = capsys.readouterr().out
    assert told.startswith(f"other  {_OTHER} ({changed}:2)\n       means another thing\n")
    assert "10 times the change" in told
    assert main(["diff", str(changed), "--format", "json"]) == 1
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert (step["status"], step["means"]) == ("other", "means another thing")
    assert main(["diff", str(changed), "--format", "github"]) == 1
    assert f"title=record {_OTHER}".replace(":", "%3A") in capsys.readouterr().out


def test_what_looks_different_alone(path: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.json"
    content = path.read_text("utf-8").splitlines(keepends=True)
    changed.write_text(
        f"{content[0]}{content[1].replace(_GOOD, f'{_HERE}:spelled')}".rstrip(",\n") + "]}"
    )
    assert main(["diff", str(changed)]) == 0
    assert main(["diff", "--exact", str(changed)]) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["record", _GOOD, "-o", "steps.toml"], "steps.toml: a record is named *.json"),
        (["record", f"{_HERE}:nothing"], "nothing"),
        (["diff", _GOOD], f"{_GOOD} is no record (*.json): name one, or two steps"),
        (["diff", _GOOD, _OTHER, "--format", "json"], "only work with records (*.json)"),
        (["diff", "none.json"], "none.json does not exist"),
    ],
)
def test_wrong_calls(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_that_the_nearest_record_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps.json").write_text("{}")
    assert main(["diff", "steps.jsn"]) == 2
    assert "name one, or two steps; did you mean steps.json?" in capsys.readouterr().err


def test_wrong_calls_with_a_record(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(path), _OTHER]) == 2
    assert f"has no {_OTHER}; it has {_GOOD}, " in capsys.readouterr().err
    assert main(["diff", str(path), "--html", "picture.html"]) == 2
    assert "a record has no graph to draw" in capsys.readouterr().err


def test_a_record_is_printed_where_no_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", _GOOD]) == 0
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert step["target"] == _GOOD
