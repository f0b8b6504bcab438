"""All runs of both benchmarks: in parallel, each kept in a file as soon as it is done."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from inalu.benchmark import minimal, nalm
from inalu.environment import environment, one_thread
from inalu.result_files import check_settings, write_json


@dataclasses.dataclass(frozen=True)
class Run:
    """One module on the minimal tasks, or on one operation of NALM's.

    `operation` is None of the minimal tasks, which are trained together. `length`: iterations of
    NALM, epochs of the minimal tasks.
    """

    module: str
    operation: str | None
    seeds: int
    length: int

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        task = "minimal" if self.operation is None else f"nalm-{self.operation}"
        return f"{task}-{self.module}"

    def outcomes(self) -> list[dict[str, Any]]:
        """Trains it, and says what came of it in numbers."""
        found: Sequence[nalm.Outcome] | Sequence[minimal.Outcome]
        if self.operation is None:
            found = minimal.run(self.module, seeds=self.seeds, epochs=self.length)
        else:
            found = nalm.run(self.module, self.operation, seeds=self.seeds, iterations=self.length)
        return [dataclasses.asdict(outcome) for outcome in found]


def nalm_runs(seeds: int = nalm.SEEDS, iterations: int = nalm.ITERATIONS) -> list[Run]:
    """Every module on every operation that it is tried on."""
    return [
        Run(module, operation, seeds, iterations)
        for module, operations in nalm.MODULES.items()
        for operation in operations
    ]


def minimal_runs(seeds: int = minimal.SEEDS, epochs: int = minimal.EPOCHS) -> list[Run]:
    """Every module."""
    return [Run(module, None, seeds, epochs) for module in minimal.MODULES]


def execute(
    runs: Sequence[Run], directory: Path, *, jobs: int = 1, console: Console | None = None
) -> dict[Run, list[dict[str, Any]]]:
    """Train all runs that have no file in the directory yet.

    Args:
        runs: of different names.
        directory: made if missing; afterwards it holds a JSON file for each run, with its settings,
            its outcomes, and what it was run on.
        jobs: processes at once, each with one thread.
        console: to show progress on.

    Returns:
        Outcomes as `nalm.Outcome` and `minimal.Outcome` have them.

    Raises:
        ImportError: joblib, of the `experiment` extra, is not installed.
        ValueError: a file is of a run with other settings.
        verify.GraphAssertionError: a substep is not what its recipe says.
    """
    import joblib

    directory.mkdir(parents=True, exist_ok=True)
    calls = [joblib.delayed(_kept)(run, directory / f"{run.name}.json") for run in runs]
    found = {}
    with Progress(console=console or Console()) as progress:
        task = progress.add_task("runs", total=len(runs))
        results = joblib.Parallel(n_jobs=jobs, return_as="generator")(calls)
        for run, outcomes in zip(runs, results, strict=True):
            found[run] = outcomes
            progress.update(task, advance=1, description=run.name)
    return found


def _kept(run: Run, path: Path) -> list[dict[str, Any]]:
    settings = dataclasses.asdict(run)
    if path.exists():
        values = json.loads(path.read_text())
        check_settings(path, values["settings"], settings)
        kept: list[dict[str, Any]] = values["outcomes"]
        return kept
    one_thread()
    start = time.perf_counter()
    outcomes = run.outcomes()
    values = {
        "settings": settings,
        "outcomes": outcomes,
        "seconds": time.perf_counter() - start,
        "environment": environment(),
    }
    write_json(path, values)
    return outcomes
