"""One seed of the experiment: its config, its files, and a run that is killed and resumed."""

from __future__ import annotations

import dataclasses
import json
import time

import numpy as np
import pytest
from pyarrow import parquet

import verify
from inalu.experiment import VARIANTS, Result, Settings, controlled, one_seed, train, variants
from loopctl import LoopControllerCallback, when
from tests import forked
from tests.inalu import unverified

# Long enough for the gates' turns, short enough for a test.
SHORT = Settings(seed=3, samples=64 * 20, epochs=6, steps_per_execution=10)
# Long enough for a kill between two epochs as well.
LONGER = dataclasses.replace(SHORT, epochs=40)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that nothing stopped returned, and its directory, which tests only read."""
    directory = tmp_path_factory.mktemp("whole")
    return train(LONGER, directory), directory


def test_files_of_a_run(whole):
    result, directory = whole
    assert result == Result.read(directory / "result.json")
    assert (result.epochs, result.reinitialized, result.converged) == (40, (), False)
    history = parquet.read_table(directory / "history.parquet").to_pydict()
    assert history["gate"] == ([True] * 8 + [False] * 2) * 80
    rows = json.loads((directory / "epochs.json").read_text())
    assert [row["epoch"] for row in rows] == list(range(40))
    assert [row["loss"] for row in rows] == pytest.approx(
        np.reshape(history["loss"], (40, 20)).mean(axis=1).tolist()
    )
    assert result.log10_loss == pytest.approx(np.log10(np.mean(history["loss"])))
    assert not (directory / "backup").exists()


def test_a_finished_run_is_not_trained_again(whole, monkeypatch):
    result, directory = whole
    monkeypatch.setattr(one_seed, "controlled", None)
    assert train(LONGER, directory) == result


def test_a_directory_of_another_run_is_refused(whole):
    _, directory = whole
    before = (directory / "result.json").read_bytes()
    with pytest.raises(ValueError, match="run with other settings"):
        train(SHORT, directory)
    assert (directory / "result.json").read_bytes() == before


@pytest.mark.usefixtures("verified")
def test_a_killed_run_ends_as_if_it_had_not_been_killed(tmp_path, whole):
    """All but the time, to the last bit, whatever the moment of the kill."""
    process = forked.start(unverified.train, LONGER, tmp_path)
    deadline = time.monotonic() + 120
    while not (rows := tmp_path / "epochs.json").exists() or len(json.loads(rows.read_text())) < 3:
        assert process.is_alive(), "it ended before it was killed"
        assert time.monotonic() < deadline, "it has not begun"
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not (tmp_path / "result.json").exists()
    result, directory = whole
    resumed = train(LONGER, tmp_path)
    assert dataclasses.replace(resumed, seconds=0) == dataclasses.replace(result, seconds=0)
    for name in ("epochs.json", "history.parquet"):
        assert (tmp_path / name).read_bytes() == (directory / name).read_bytes()


def asynchronous(monkeypatch, **actions):
    """Chapter 6 with other actions between epochs."""
    changed = dataclasses.replace(VARIANTS["chapter-6"], asynchronous=lambda: actions)
    monkeypatch.setitem(VARIANTS, "chapter-6", changed)


@pytest.mark.usefixtures("verified", "one_layer")
def test_reinitialisation_keeps_the_history_and_is_noted(tmp_path, monkeypatch):
    """With a condition that holds after every second epoch."""
    asynchronous(monkeypatch, often=variants.reinitialization(cond=when.reinit_epochs >= 2))
    result = train(SHORT, tmp_path)
    assert result.reinitialized == (2, 4)
    assert parquet.read_table(tmp_path / "history.parquet").num_rows == 6 * 20


@pytest.mark.usefixtures("verified", "one_layer")
def test_a_run_that_stopped_itself_and_was_killed_then_is_over(tmp_path, monkeypatch):
    """Between the last backup and the result."""
    early = {**variants.early_stopping(), "cond": when.loss.mean(20) < 1e9}
    asynchronous(monkeypatch, early=early)
    with monkeypatch.context() as patch:
        patch.setattr(one_seed, "_write_history", None)
        with pytest.raises(TypeError):
            train(SHORT, tmp_path)
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["epoch-1-stopped.weights.h5"]
    result = train(SHORT, tmp_path)
    assert result.epochs == 1
    assert parquet.read_table(tmp_path / "history.parquet").num_rows == 20


def test_unknown_variant():
    with pytest.raises(ValueError, match="variant is 'no-clip', expected one of chapter-6"):
        Settings(0, variant="no-clip")


def test_a_wrong_graph_is_not_trained(tmp_path, monkeypatch):
    """In the variant with the fewest steps."""

    def without_clip(settings):
        model, control = controlled(settings)
        unclipped = {**control.config["gate"], True: {"excluded_variables": "*/g"}}
        faulty = {**control.config, "gate": unclipped}
        LoopControllerCallback(faulty).attach(model)
        return model, control

    monkeypatch.setattr(one_seed, "controlled", without_clip)
    with pytest.raises(verify.GraphAssertionError):
        train(dataclasses.replace(SHORT, variant="never-regularized"), tmp_path)
    assert not (tmp_path / "epochs.json").exists()
