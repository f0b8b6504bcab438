"""Runs are kept in files: a killed command goes on where it was."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from inalu.benchmark import suite
from inalu.benchmark.suite import Run, execute

QUIET = Console(quiet=True)
RUNS = [Run("NAU", "add", 2, 1000), Run("NMU", "mul", 2, 1000)]


@pytest.fixture
def trained(monkeypatch):
    """The runs that were trained, in order."""
    names = []

    def outcomes(run):
        names.append(run.name)
        return [{"module": run.module, "successes": 1}]

    monkeypatch.setattr(Run, "outcomes", outcomes)
    monkeypatch.setattr(suite, "one_thread", lambda: None)
    return names


def test_a_run_is_trained_once(tmp_path, trained):
    first = execute(RUNS, tmp_path, console=QUIET)
    assert trained == ["nalm-add-NAU", "nalm-mul-NMU"]
    assert execute(RUNS, tmp_path, console=QUIET) == first
    assert len(trained) == 2
    (tmp_path / "nalm-mul-NMU.json").unlink()
    assert execute(RUNS, tmp_path, console=QUIET) == first
    assert trained[2:] == ["nalm-mul-NMU"]


def test_a_file_says_all_that_is_needed(tmp_path, trained):
    execute(RUNS[:1], tmp_path, console=QUIET)
    values = json.loads((tmp_path / "nalm-add-NAU.json").read_text())
    assert values["settings"] == {"module": "NAU", "operation": "add", "seeds": 2, "length": 1000}
    assert {"tensorflow", "threads"} < set(values["environment"])
    assert values["outcomes"] == [{"module": "NAU", "successes": 1}]


def test_a_file_of_other_settings_is_refused(tmp_path, trained):
    execute(RUNS[:1], tmp_path, console=QUIET)
    with pytest.raises(ValueError, match="run with other settings"):
        execute([Run("NAU", "add", 3, 1000)], tmp_path, console=QUIET)


def test_names():
    names = [run.name for run in [*suite.nalm_runs(), *suite.minimal_runs()]]
    assert len(set(names)) == 21
    assert names[-1] == "minimal-iNALU"
