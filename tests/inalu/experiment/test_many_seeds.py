"""Many seeds: the command, its files, and the same results wherever it runs."""

from __future__ import annotations

import json

import pytest
from distributed import LocalCluster
from pyarrow import parquet
from rich.console import Console

from inalu.__main__ import main
from inalu.experiment import VARIANTS, Settings, many_seeds, train_seeds

SHORT = [Settings(seed, samples=64 * 10, epochs=2, steps_per_execution=10) for seed in (4, 5)]


@pytest.mark.usefixtures("verified")
def test_command(tmp_path, capsys):
    arguments = ["train", "--seeds", "2", "--first-seed", "4", "--samples", "640", "--epochs", "2"]
    assert main([*arguments, "--jobs", "1", "--output", str(tmp_path)]) == 0
    assert "0 of 2 seeds converged; 0 succeeded" in capsys.readouterr().out
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["settings"]["seed"] for row in rows] == [4, 5]
    assert parquet.read_table(tmp_path / "results.parquet").num_rows == 2
    assert (tmp_path / "results.md").read_text().count("\n") == 4
    # The same directory for another experiment.
    assert main([*arguments[:-1], "3", "--jobs", "1", "--output", str(tmp_path)]) == 2
    assert "run with other settings" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["--seeds=0", "--samples=63", "--epochs=x", "--jobs=-1"])
def test_wrong_arguments(argument, capsys):
    with pytest.raises(SystemExit):
        main(["train", argument])
    assert argument.split("=")[0] in capsys.readouterr().err


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Results of a campaign in this process, and what was shown of it."""
    console = Console(record=True, width=100, force_terminal=True)
    results = train_seeds(SHORT, tmp_path_factory.mktemp("here"), console=console)
    return results, console.export_text()


def test_bars_follow_the_files(here):
    _, text = here
    for seed in (4, 5):
        assert f"seed-{seed}" in text
    assert text.count("epoch 2/2") >= 2
    assert ", done" in text


def test_ablation(tmp_path, capsys):
    """Every variant is trained, hence what its config says was found in its graphs."""
    short = ["--seeds", "1", "--samples", "640", "--epochs", "1", "--jobs", "1"]
    assert main(["ablate", *short, "--output", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name, variant in VARIANTS.items():
        assert name in out
        assert variant.about in out
    assert (tmp_path / "no-gating" / "seed-0" / "result.json").exists()


@pytest.mark.usefixtures("verified")
def test_more_runs_than_lines_show_those_that_train(tmp_path, monkeypatch):
    monkeypatch.setattr(many_seeds, "_LINES", 1)
    console = Console(record=True, width=100, force_terminal=True)
    train_seeds(SHORT, tmp_path, console=console)
    last = console.export_text().splitlines()[-1]
    assert last.split()[0] == "all"
    assert "run 2/2" in last


def test_on_a_cluster_as_here(tmp_path, here):
    """A Dask cluster's worker is a process of its own, which shares the directory."""
    console = Console(quiet=True)
    results, _ = here
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        there = train_seeds(
            SHORT, tmp_path / "there", dask=cluster.scheduler_address, console=console
        )
    assert [r.settings for r in there] == [r.settings for r in results] == SHORT
    # One thread adds in another order than two do.
    for ours, theirs in zip(results, there, strict=True):
        assert theirs.log10_loss == pytest.approx(ours.log10_loss, rel=1e-3)
