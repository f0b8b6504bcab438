"""Intervals, and our figures beside the published ones."""

from __future__ import annotations

import pytest

from inalu.__main__ import main
from inalu.benchmark import minimal, nalm, report, suite
from inalu.benchmark.report import interval, shown
from inalu.benchmark.suite import Run


@pytest.mark.parametrize(
    ("successes", "seeds", "low", "high"),
    # Of R's prop.test without continuity correction.
    [(10, 10, 0.7225, 1.0), (0, 25, 0.0, 0.1332), (5, 10, 0.2366, 0.7634), (9, 10, 0.5958, 0.9821)],
)
def test_interval(successes, seeds, low, high):
    found = interval(successes, seeds)
    assert found == pytest.approx((low, high), abs=1e-4)
    assert 0 <= found[0] <= successes / seeds <= found[1] <= 1


def test_shown():
    assert shown(9, 10) == "9 [60, 98]"


def outcomes(successes=10):
    """Of the minimal tasks with an iNALU, and of NALM's sums with a NAU."""
    tasks = [(d.name, o) for d in minimal.DISTRIBUTIONS for o in nalm.OPERATIONS]
    of_minimal = [
        {"distribution": d, "operation": o, "successes": successes, "seeds": 10} for d, o in tasks
    ]
    of_nalm = [{"range": r.name, "successes": 25, "seeds": 25} for r in nalm.RANGES]
    return {
        Run("NAU", "add", 25, 50_000): of_nalm,
        Run("iNALU", None, 10, 100): of_minimal,
    }


def test_tables():
    sums = report.nalm_tables(outcomes())
    assert list(sums) == ["add"]
    assert sums["add"].headings == ("trained on", "NAU")
    assert sums["add"].cells[0] == ("[-20, -10]", "25 [87, 100]")
    rows = report.minimal_tables(outcomes())["iNALU"]
    assert rows.cells[1] == (
        "E(0.8)",
        "10 [72, 100] / 10",
        "10 [72, 100] / 10",
        "10 [72, 100] / 10",
        "10 [72, 100] / 7 *",
    )


def test_disagreements():
    """All published rates of 0, 3, 5 and 7 of 10 are outside of [72, 100]; 10 and 0 are not."""
    assert report.disagreements(outcomes()) == 9
    assert report.disagreements(outcomes(successes=0)) == 28 - 3


def test_command(tmp_path, monkeypatch, capsys):
    asked = []

    def execute(runs, directory, **_):
        asked.extend(runs)
        return outcomes()

    monkeypatch.setattr(suite, "execute", execute)
    assert main(["benchmark", "--seeds", "3", "--output", str(tmp_path)]) == 0
    assert len(asked) == 19 + 2
    assert {run.seeds for run in asked} == {3}
    out = capsys.readouterr().out
    assert "9 published rates are outside" in out
    assert "25 [87, 100]" in (tmp_path / "results.md").read_text()
    asked.clear()
    assert main(["benchmark", "--only", "nalm", "--modules", "NMU", "--output", str(tmp_path)]) == 0
    assert [run.name for run in asked] == ["nalm-mul-NMU"]
