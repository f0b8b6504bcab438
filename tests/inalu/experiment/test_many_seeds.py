"""Many seeds: the command, its files, and the same results wherever it runs."""

from __future__ import annotations

import json
import shutil

import pytest
import tensorflow as tf
from distributed import LocalCluster
from hypothesis import settings
from pyarrow import parquet
from rich.console import Console

import inalu.__main__ as command
import verify
from inalu import recipe
from inalu.experiment import (
    VARIANTS,
    Result,
    Settings,
    controlled,
    many_seeds,
    one_seed,
    train_seeds,
)
from tests.grids import THOROUGH
from tests.inalu import unverified

SHORT = [Settings(seed, samples=64 * 10, epochs=2, steps_per_execution=10) for seed in (4, 5)]
TRAIN = ["train", "--seeds", "2", "--first-seed", "4", "--samples", "640", "--jobs", "1"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """What the command leaves of two seeds, trained in this process, and what it shows of them.

    Unverified, and of one layer: all three with the same config are in the tests of one seed.
    """
    directory = tmp_path_factory.mktemp("here")
    console = Console(record=True, width=100, force_terminal=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "assert_config", lambda model, callback, batch: None)
        patch.setattr(recipe, "build_model", unverified.one_layer)
        patch.setattr(command, "Console", lambda: console)
        assert command.main([*TRAIN, "--epochs", "2", "--output", str(directory)]) == 0
    return directory, console.export_text()


def test_command(here, capsys):
    directory, text = here
    assert "0 of 2 seeds converged; 0 succeeded" in text
    rows = json.loads((directory / "results.json").read_text())
    assert [row["settings"]["seed"] for row in rows] == [4, 5]
    assert parquet.read_table(directory / "results.parquet").num_rows == 2
    assert (directory / "results.md").read_text().count("\n") == 4
    # The same directory for another experiment.
    assert command.main([*TRAIN, "--epochs", "3", "--output", str(directory)]) == 2
    assert "run with other settings" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["--seeds=0", "--samples=63", "--epochs=x", "--jobs=-1"])
def test_wrong_arguments(argument, capsys):
    with pytest.raises(SystemExit):
        command.main(["train", argument])
    assert argument.split("=")[0] in capsys.readouterr().err


def test_bars_follow_the_files(here):
    _, text = here
    for seed in (4, 5):
        assert f"seed-{seed}" in text
    assert text.count("epoch 2/2") >= 2
    assert ", done" in text


@pytest.mark.usefixtures("verified", "one_layer", "eagerly")
def test_ablation(tmp_path, capsys):
    """Every variant is trained."""
    short = ["--seeds", "1", "--samples", "128", "--epochs", "1", "--jobs", "1"]
    assert command.main(["ablate", *short, "--output", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name, variant in VARIANTS.items():
        assert name in out
        assert variant.about in out
    assert (tmp_path / "no-gating" / "seed-0" / "result.json").exists()


def of_other_steps():
    """Variants with steps that no other has: others differ in first weights or between epochs.

    But for chapter 6 as it is, which is in the tests of one seed.
    """
    first = {}
    for name, variant in VARIANTS.items():
        layer = {key: value for key, value in variant.layer.items() if "initializer" not in key}
        first.setdefault((variant.config, *layer.items()), name)
    return [name for name in first.values() if name != "chapter-6"]


@pytest.mark.parametrize("variant", of_other_steps())
def test_what_a_variants_config_says_is_in_its_graphs(variant, request):
    """As before each training; of the whole stack in the thorough profile, else of one layer."""
    if settings.default.max_examples < THOROUGH:
        request.getfixturevalue("one_layer")
    model, control = controlled(Settings(0, variant=variant))
    batch = (tf.TensorSpec((64, recipe.FEATURES)), tf.TensorSpec((64, 1)))
    verify.assert_config(model, control, batch)


def test_more_runs_than_lines_show_those_that_train(tmp_path, monkeypatch, here):
    finished, _ = here

    def train(settings, place):
        shutil.copytree(finished / settings.name, place)
        return Result.read(place / "result.json")

    monkeypatch.setattr(many_seeds, "train", train)
    monkeypatch.setattr(many_seeds, "_LINES", 1)
    console = Console(record=True, width=100, force_terminal=True)
    train_seeds(SHORT, tmp_path, console=console)
    last = console.export_text().splitlines()[-1]
    assert last.split()[0] == "all"
    assert "run 2/2" in last


def test_on_a_cluster_as_here(tmp_path, monkeypatch, here):
    """A Dask cluster's worker is a process of its own, which shares the directory."""
    finished, _ = here
    ours = Result.read(finished / "seed-4" / "result.json")
    # In this process nothing can be trained.
    monkeypatch.setattr(one_seed, "controlled", None)
    # Of a cluster with a single thread joblib makes no use.
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
    ) as cluster:
        with cluster.get_client() as client:
            client.run(unverified.of_one_layer_from_now_on)
        (theirs,) = train_seeds(
            SHORT[:1],
            tmp_path / "there",
            dask=cluster.scheduler_address,
            console=Console(quiet=True),
        )
    assert theirs.settings == ours.settings == SHORT[0]
    # One thread adds in another order than two do.
    assert theirs.log10_loss == pytest.approx(ours.log10_loss, rel=1e-3)
