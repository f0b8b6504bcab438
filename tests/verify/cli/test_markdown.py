"""Reports as Markdown: nothing of a name becomes markup, and the line is the right one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from verify.cli import main
from verify.cli.markdown import MARK, markdown
from verify.cli.reports import Entry, Report, Said

SHOP = "tests.verify.contracts.shop"
SAID = Said("loss", "loss: expected mae", Path("a.graph.toml"), 2, "x")
ENTRY = Entry("a", "", Path(), 1, "broken", False, "", (SAID,), None, (0.0, 0.0), {})
GOOD = dataclasses.replace(ENTRY, label="b", status="kept", good=True, said=())
FAILED = dataclasses.replace(ENTRY, label="c", status="error", said=(), error="it failed")


def told(*entries: Entry, unreadable: tuple[str, ...] = ()) -> str:
    rules = {"loss": {"shortDescription": {"text": "..."}}}
    return markdown(Report("", "", "", (), frozenset(), "", entries, unreadable, rules))


@pytest.mark.parametrize(
    ("entries", "headline"),
    [
        ((GOOD,), "The training step is as it should be"),
        ((GOOD, GOOD), "All 2 training steps are as they should be"),
        ((GOOD, ENTRY), "1 of 2 training steps is not as meant"),
        ((ENTRY, ENTRY), "2 of 2 training steps are not as meant"),
        ((GOOD, FAILED), "1 of 2 training steps could not be looked at"),
    ],
)
def test_the_headline_says_how_it_is(entries: tuple[Entry, ...], headline: str) -> None:
    assert told(*entries).splitlines()[:3] == [MARK, "", f"### {headline}"]


def test_what_cannot_be_read_is_told() -> None:
    text = told(GOOD, unreadable=("a.graph.toml: no TOML",))
    assert "### Not everything could be read" in text
    assert "```text\na.graph.toml: no TOML\n```" in text


HOSTILE = [
    "`code`",
    "```\n# out of the fence\n```",
    "`````",
    "@everyone <img src=x> <!-- -->",
    "[a](javascript:alert())",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_comes_from_elsewhere_stays_in_code(name: str) -> None:
    said = dataclasses.replace(SAID, text=f"loss: {name}")
    entry = dataclasses.replace(ENTRY, label=name, said=(said,))
    lines = told(entry).splitlines()
    fence = next(line for line in lines if line.endswith("text"))[: -len("text")]
    begin, end = lines.index(f"{fence}text"), lines.index(fence)
    assert "\n".join(lines[begin + 1 : end]) == f"loss: {name}"
    label = next(line for line in lines if line.startswith("**"))
    ticks = label[2 : len(label) - len(label[2:].lstrip("`"))]
    inside = label[2 + len(ticks) : label.rindex(ticks)]
    assert inside.strip() == " ".join(name.split())
    assert ticks not in inside


def test_a_comment_is_not_longer_than_one_may_be() -> None:
    said = dataclasses.replace(SAID, text="loss: " + "x" * 1000)
    text = told(*[dataclasses.replace(ENTRY, said=(said,))] * 100)
    assert 50_000 < len(text) < 65_536
    assert "more parts are left out: run `loopctl-verify` yourself." in text


def test_a_contract_that_is_broken_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.graph.toml").write_text(f'[contracts.a]\ntarget = "{SHOP}:plain"\nloss = "mae"\n')
    also = ["--also", "json=one.json", "--also", "sarif=two.sarif"]
    assert main(["check", "--format", "markdown", *also]) == 1
    text = capsys.readouterr().out
    assert '- `loss` is not what `a.graph.toml:3` promises: `loss = "mae"`' in text
    assert "tests/verify/contracts/shop.py:" in text
    assert (Path("one.json").read_text()[0], Path("two.sarif").read_text()[0]) == ("{", "{")


def test_a_contract_that_is_broken_says_where_in_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    target = f'target = "{SHOP}:own_and_more"'
    Path("a.graph.toml").write_text(f'[contracts.a]\n{target}\nwatched = "*head*"\n')
    also = ["--also", "markdown=one.md", "--also", "sarif=two.sarif", "--also", "json=three.json"]
    assert main(["check", "--format", "github", *also]) == 1
    code = "optimizer.apply(tape.gradient(loss, variables), variables)"
    shop = Path(__file__).parents[1] / "contracts" / "shop.py"
    (number,) = [i for i, line in enumerate(shop.read_text().splitlines(), 1) if code in line]
    place = "tests/verify/contracts/shop.py"
    assert f"::error file={place},line={number},title=" in capsys.readouterr().out
    assert f"\n  - in `{place}:{number}`: `{code}`\n" in Path("one.md").read_text()
    (result,) = json.loads(Path("two.sarif").read_text())["runs"][0]["results"]
    (shown,), (other,) = result["locations"], result["relatedLocations"]
    assert shown["physicalLocation"]["region"] == {"startLine": number}
    assert shown["physicalLocation"]["artifactLocation"] == {"uri": place}
    assert other["physicalLocation"]["artifactLocation"]["uri"].endswith("a.graph.toml")
    (violation,) = json.loads(Path("three.json").read_text())["contracts"][0]["violations"]
    assert violation["lines"] == [{"path": str(shop), "number": number, "text": code}]


def test_lint_tells_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", f"{SHOP}:plain", "--format", "markdown"]) == 0
    assert "### The training step is as it should be" in capsys.readouterr().out


@pytest.mark.parametrize("also", ["sarif", "sarif=", "xml=a", "=a"])
def test_another_report_is_written_somewhere(
    also: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--also", also]) == 2
    assert f"--also {also}: it is written FORMAT=FILE" in capsys.readouterr().err
