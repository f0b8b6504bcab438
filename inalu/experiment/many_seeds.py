"""Many seeds at once: in parallel processes or on a Dask cluster, with a progress bar each.

Needs joblib and pyarrow, and for a cluster distributed: the `experiment` extra.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from inalu.environment import one_thread
from inalu.experiment.one_seed import Result, Settings, reinitialized, train
from inalu.result_files import write_json
from loopctl_shared import whole

# Seconds between two looks at the workers' files.
_LOOK = 0.5
# As many bars as fit under one another.
_LINES = 20


def train_seeds(
    settings: Sequence[Settings],
    directory: Path,
    *,
    jobs: int = 1,
    dask: str | None = None,
    console: Console | None = None,
) -> list[Result]:
    """Train every run, or go on with those that a killed command left unfinished.

    Args:
        settings: one for each run, of different names.
        directory: for a directory of each run's own, as `train` leaves it, and for all results
            together in ``results.json`` and ``results.parquet``. A cluster's workers must see it.
        jobs: processes at once, each with one thread; 1 trains in this process.
        dask: address of a Dask cluster's scheduler, to train there instead.
        console: to show progress on.

    Returns:
        The results in the order of the settings.

    Raises:
        ImportError: the `experiment` extra is not installed.
        ValueError: a directory holds a run of other settings.
        verify.GraphAssertionError: a step is not what the config says.
    """
    import joblib

    directory = directory.resolve()
    places = {s.name: directory / s.name for s in settings}
    # How many threads a cluster's worker has is the cluster's business.
    function = _alone if dask is None and jobs > 1 else train
    calls = [joblib.delayed(function)(s, places[s.name]) for s in settings]
    with _backend(dask), _bars(places, console or Console()):
        results = list(joblib.Parallel(n_jobs=-1 if dask else jobs)(calls))
    _save(results, directory)
    return results


def _alone(settings: Settings, directory: Path) -> Result:
    """`train` in a process that shares its machine with others."""
    one_thread()
    return train(settings, directory)


@contextlib.contextmanager
def _backend(dask: str | None) -> Iterator[None]:
    if dask is None:
        yield
        return
    import joblib
    from distributed import Client

    with Client(dask), joblib.parallel_config(backend="dask"):
        yield


@contextlib.contextmanager
def _bars(places: dict[str, Path], console: Console) -> Iterator[None]:
    """A bar for each run while the context is open, from what the workers write to their files.

    Runs that no terminal has lines for are shown only while they train.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[unit]} {task.completed}/{task.total}  {task.fields[state]}"),
        TimeElapsedColumn(),
    )
    finished = threading.Event()
    many = len(places) > _LINES
    with Progress(*columns, console=console) as progress:
        fields: dict[str, Any] = {"unit": "epoch", "state": "waiting"}
        tasks = {
            name: progress.add_task(name, total=None, start=False, visible=not many, **fields)
            for name in places
        }
        whole = progress.add_task("all", total=len(places), unit="run", state="")

        def look() -> None:
            count = 0
            for name, place in places.items():
                done = (place / "result.json").exists()
                count += done
                if (place / "epochs.json").exists():
                    rows = json.loads((place / "epochs.json").read_text())
                    progress.start_task(tasks[name])
                    progress.update(tasks[name], visible=not (many and done), **_state(rows, done))
            progress.update(whole, completed=count)

        def follow() -> None:
            while not finished.wait(_LOOK):
                look()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
            look()


def _state(rows: list[dict[str, Any]], done: bool) -> dict[str, Any]:
    if not rows:
        return {"state": "begun"}
    loss = rows[-1]["window_loss"]
    text = f"log10 loss {math.log10(loss):.1f}" if loss > 0 else "loss 0"
    if count := len(reinitialized(rows)):
        text += f", reinitialised {count}×"
    total = len(rows) if done else rows[-1]["of"]
    return {"completed": len(rows), "total": total, "state": text + (", done" if done else "")}


def _save(results: Sequence[Result], directory: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [dataclasses.asdict(result) for result in results]
    write_json(directory / "results.json", rows)
    with whole(directory / "results.parquet") as part:
        parquet.write_table(pyarrow.Table.from_pylist(rows), part)
