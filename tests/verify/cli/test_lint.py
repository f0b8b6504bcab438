"""``loopctl-verify lint``: exit status, formats, what comments in contracts silence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from verify.cli import main
from verify.rules import RULES

FACTORIES = "tests.verify.rules.factories"
CONTRACTS = f"""
[contracts.sound]
target = "{FACTORIES}:sound"
loss = "mse"

# verify: ignore[V201] the rate is set by a callback
[contracts.still]
target = "{FACTORIES}:still"
loss = "mse"
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "a.graph.toml"
    path.write_text(text)
    return str(path)


def test_nothing_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", f"{FACTORIES}:sound"]) == 0
    assert capsys.readouterr().out.startswith(f"sound  {FACTORIES}:sound (")


@pytest.mark.parametrize("form", ["text", "json", "junit", "sarif", "github"])
def test_what_is_found_in_each_format(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", f"{FACTORIES}:still", "--format", form]) == 1
    told = capsys.readouterr().out
    assert "learning rate is 0" in told
    if form == "json":
        (step,) = json.loads(told)["steps"]
        assert [(one["id"], one["page"]) for one in step["findings"]] == [("V201", "lint.md#v201")]
    if form == "junit":
        assert ElementTree.fromstring(told).find("testsuite").attrib["failures"] == "1"  # type: ignore[union-attr]
    if form == "sarif":
        (run,) = json.loads(told)["runs"]
        (rule,) = run["tool"]["driver"]["rules"]
        assert (rule["id"], rule["name"]) == ("V201", RULES["V201"].title)
        assert rule["help"]["markdown"] == RULES["V201"].section
        place = run["results"][0]["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "tests/verify/rules/factories.py"
    if form == "github":
        assert re.match(r"::error file=tests/verify/rules/factories.py,line=\d+,", told)


def test_the_address_of_a_section_where_the_docs_have_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("verify.cli.lint_reports.documentation", lambda: "https://docs.example")
    main(["lint", f"{FACTORIES}:still", "--format", "sarif"])
    (rule,) = json.loads(capsys.readouterr().out)["runs"][0]["tool"]["driver"]["rules"]
    assert rule["helpUri"] == "https://docs.example/lint/#v201"


@pytest.mark.parametrize(
    ("options", "status"),
    [(["--ignore", "v201"], 0), (["--select", "V101,V301"], 0), (["--select", "V201"], 1)],
)
def test_rules_are_chosen(options: list[str], status: int) -> None:
    assert main(["lint", f"{FACTORIES}:still", *options]) == status


def test_a_rule_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--explain", "v301"]) == 0
    assert capsys.readouterr().out == f"V301\n\n{RULES['V301'].section}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--explain", "V999"], "there is no rule 'V999'"),
        (["--ignore", "V3011", "a:b"], "did you mean V301"),
        ([], "name a step"),
        (["nowhere.graph.toml"], "does not exist"),
    ],
)
def test_a_wrong_call(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_step_that_cannot_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", f"{FACTORIES}:nothing_such"]) == 2
    assert "nothing_such" in capsys.readouterr().out


def test_a_comment_silences_a_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, CONTRACTS)
    assert main(["lint", path, "--format", "json"]) == 0
    sound, still = json.loads(capsys.readouterr().out)["steps"]
    assert sound["ignored"] == []
    assert still["ignored"] == [
        {"ids": ["V201"], "reason": "the rate is set by a callback", "line": 6}
    ]


def test_a_comment_that_silences_nothing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    within = CONTRACTS.replace('loss = "mse"\n\n', 'loss = "mse"  # verify: ignore[V101] no\n\n')
    assert main(["lint", written(tmp_path, within)]) == 1
    assert "line 4: ignore[V101] silences nothing" in capsys.readouterr().out
    assert main(["lint", written(tmp_path, within), "--select", "V201"]) == 0


@pytest.mark.parametrize(
    ("comment", "told"),
    [
        ("# verify: ignore[V201]", "gives no reason"),
        ("# verify: ignore[V999] soon", "there is no rule 'V999'"),
        ("# verify: ignore[] soon", "names no rule"),
        ("# verify: ingore[V201] soon", "is not a known comment"),
    ],
)
def test_a_wrong_comment(
    comment: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = re.sub("# verify: .*", comment, CONTRACTS)
    assert main(["lint", written(tmp_path, text)]) == 2
    assert re.search(rf"a\.graph\.toml:6: .*{re.escape(told)}", capsys.readouterr().err)


def test_a_comment_about_no_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"# verify: ignore[V201] soon\n\n{CONTRACTS}"
    assert main(["lint", written(tmp_path, text)]) == 2
    assert "is about no contract" in capsys.readouterr().err
