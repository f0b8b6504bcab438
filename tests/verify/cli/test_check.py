"""`loopctl-verify check`: exit statuses, formats, the ratchet."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema

from verify.cli import main
from verify.cli.formats import FORMATTED

SHOP = "tests.verify.contracts.shop"
BEGINNER = """
import keras

def build():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

model = build()

def train(x, y, epochs=1):
    model.fit(x, y, epochs=epochs)
"""
DATA = Path(__file__).parent / "data"
KEPT = f'[contracts.kept]\ntarget = "{SHOP}:plain"\ntags = ["fast"]\nloss = "mse"\n'
BROKEN = f'[contracts.broken]\ntarget = "{SHOP}:plain"\nloss = "mae"\nclipping = [-1, 1]\n'
FAILS = f'[contracts.fails]\ntarget = "{SHOP}:raises"\nloss = "mse"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder: Path, text: str, name: str = "a.graph.toml") -> None:
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("text", "status"), [(KEPT, 0), (KEPT + BROKEN, 1), (FAILS, 2), (BROKEN + FAILS, 2), ("x", 2)]
)
def test_exit_statuses(
    text: str, status: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(folder, text)
    assert main(["check"]) == status
    assert "Traceback" not in capsys.readouterr().out


def test_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, KEPT + BROKEN + FAILS)
    put(folder, "[contracts.odd]\nlos = 1\n", "b.graph.toml")
    assert main(["check"]) == 2
    told = capsys.readouterr().out
    assert "kept   kept (a.graph.toml:1)" in told
    assert "broken broken (a.graph.toml:5)" in told
    assert "       1. loss: expected mae" in told
    assert "error  fails (a.graph.toml:9)" in told
    assert "error  b.graph.toml: contracts.odd.los: unknown key; did you mean loss?" in told
    assert "1 kept, 1 broken, 2 errors" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "no contract is in any *.graph.toml"),
        (["check", "missing.graph.toml"], "missing.graph.toml does not exist"),
        (["check", "--write"], "--write needs --ratchet"),
        (["show", "no_module:x"], "no_module can't be imported"),
        (["show", "nowhere"], "nowhere does not exist"),
        (["show", SHOP], f"does not exist; did you mean {SHOP}:model or {SHOP}:plain or "),
        (["show", f"{SHOP}.plain"], f"does not exist; did you mean {SHOP}:plain?"),
        (["show", f"{SHOP}s:plain"], f"No module named '{SHOP}s'; did you mean {SHOP}:plain?"),
        (
            ["show", "beginner.py"],
            "name a function of that module; did you mean beginner:build?",
        ),
        (["show", "beginner:model"], "is a model, and no function: a function without arguments"),
        (["show", "beginner:train"], "beginner:train asks for x, y: a function without arguments"),
        (["show", "beginner:build"], "build gives no batch with it: a function without arguments"),
        (["init", "m:f", "-o", "x.toml"], "a contract file is named *.graph.toml"),
    ],
)
def test_wrong_calls(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "beginner.py").write_text(BEGINNER, "utf-8")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_tags_choose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, KEPT + BROKEN)
    assert main(["check", "--tag", "fast"]) == 0
    assert "1 kept, 0 broken" in capsys.readouterr().out
    assert main(["check", "--tag", "slow"]) == 2


def test_hidden_folders_and_installed_packages_are_passed_over(folder: Path) -> None:
    for name in (".venv", "site-packages"):
        (folder / name).mkdir()
        put(folder / name, BROKEN)
    put(folder, KEPT)
    assert main(["check", str(folder)]) == 0


@pytest.mark.parametrize("form", ["json", "junit", "sarif", "github"])
def test_formats_for_machines(form: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, KEPT + BROKEN + FAILS)
    put(folder, "[contracts.odd]\nlos = 1\n", "b.graph.toml")
    assert main(["check", "--format", form, "--output", "report"]) == 2
    assert capsys.readouterr().out == ""
    report = (folder / "report").read_text()
    if form == "json":
        read = json.loads(report)
        assert [one["status"] for one in read["contracts"]] == ["kept", "broken", "error"]
        assert read["contracts"][1]["violations"][0]["keyword"] == "loss"
        assert len(read["unreadable"]) == 1
    elif form == "junit":
        suites = ElementTree.fromstring(report)
        assert [case.get("name") for case in suites.iter("testcase")] == [
            "kept", "broken", "fails", "unreadable"
        ]  # fmt: skip
        assert "expected mae" in str(next(suites.iter("failure")).text)
        assert len(list(suites.iter("error"))) == 2
    elif form == "sarif":
        read = json.loads(report)
        jsonschema.validate(read, json.loads((DATA / "sarif-schema-2.1.0.json").read_text()))
        rules = [result["ruleId"] for result in read["runs"][0]["results"]]
        assert rules == ["loss", "clipping"]
        assert not read["runs"][0]["invocations"][0]["executionSuccessful"]
    else:
        first, second, third, fourth, _ = report.splitlines()
        assert first.startswith("::error file=a.graph.toml,line=7,title=graph contract broken::los")
        assert "%0A" in first
        assert second.startswith("::error file=a.graph.toml,line=8,title=graph contract broken::cl")
        assert third.startswith("::error file=a.graph.toml,line=9")
        assert fourth.startswith("::error title=graph contract::b.graph.toml")


def test_results_of_sarif_are_told_apart_and_point_at_their_keys(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / "a part").mkdir()
    put(folder / "a part", BROKEN.replace('"mae"', '["mae", "mae"]'))
    for place in (folder, folder / "a part"):
        with contextlib.chdir(place):
            main(["check", "--format", "sarif", "--output", str(folder / f"{place.name}.sarif")])
    names = (f"{folder.name}.sarif", "a part.sarif")
    first, second = ((folder / name).read_text() for name in names)
    assert first == second  # wherever it is run
    results = json.loads(first)["runs"][0]["results"]
    assert len({one["partialFingerprints"]["contract/v1"] for one in results}) == 3
    places = [one["locations"][0]["physicalLocation"] for one in results]
    assert {one["artifactLocation"]["uri"] for one in places} == {"a%20part/a.graph.toml"}
    assert [one["region"]["startLine"] for one in places] == [3, 3, 4]


def test_junit_keeps_to_the_common_schema(folder: Path) -> None:
    put(folder, KEPT + BROKEN + FAILS)
    main(["check", "--format", "junit", "--output", "report.xml"])
    xmlschema.XMLSchema(str(DATA / "junit-10.xsd")).validate(str(folder / "report.xml"))


def test_what_a_factory_prints_is_no_part_of_the_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(folder, f'[contracts.a]\ntarget = "{SHOP}:prints"\nloss = "mse"\n')
    assert main(["check", "--format", "json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["contracts"][0]["status"] == "kept"
    assert "3 rows" in told.err


def test_a_factory_that_leaves_closes_the_gate(folder: Path) -> None:
    put(folder, f'[contracts.a]\ntarget = "{SHOP}:leaves"\nloss = "mse"\n')
    assert main(["check"]) == 2


def test_the_ratchet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, KEPT + "max_ops = 100000\n")
    assert main(["check"]) == 0
    assert main(["check", "--ratchet"]) == 1
    assert "loose  kept" in capsys.readouterr().out
    assert "100000" in (folder / "a.graph.toml").read_text()  # told, not rewritten
    assert main(["check", "--ratchet", "--write"]) == 0
    assert "100000" not in (folder / "a.graph.toml").read_text()
    assert main(["check", "--ratchet"]) == 0
    # Nothing that is looser than its contract is ever written into it.
    text = (folder / "a.graph.toml").read_text().replace("max_ops = ", "max_ops = 1 # ")
    put(folder, text)
    assert main(["check", "--ratchet", "--write"]) == 1
    assert (folder / "a.graph.toml").read_text() == text


def test_every_format_is_known() -> None:
    from verify.cli.check import FORMATS

    assert set(FORMATS) == set(FORMATTED)
