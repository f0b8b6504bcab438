"""What ``python -m inalu train`` left, read for pictures. Needs pyarrow, the `experiment` extra."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from inalu.experiment import Result
from loopctl_shared import how_to_install

_T = TypeVar("_T")
_Columns = Mapping[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that has its result.

    `result`: what came of it; `epochs`: "loss", "interpolation" and "extrapolation" -> float64
    (epochs,); `history`: "loss", and each action there was, -> an array (steps,), over all
    reinitialisations.
    """

    result: Result
    epochs: _Columns
    history: _Columns

    @property
    def reinitialized(self) -> tuple[int, ...]:
        """After how many steps weights were drawn anew."""
        settings = self.result.settings
        steps = settings.samples // settings.batch_size
        return tuple(steps * epoch for epoch in self.result.reinitialized)

    @property
    def stopped(self) -> int | None:
        """After how many steps the run stopped itself, if it did."""
        return len(self.history["loss"]) if self.result.converged else None


def read_runs(directory: Path) -> list[Run]:
    """The runs in a directory that have their result, by seed.

    Args:
        directory: what `inalu.experiment.train_seeds` was given, or one variant's in that.

    Raises:
        ImportError: pyarrow is missing.
        ValueError: there is no result, or a file is missing or not what `train` writes.
    """
    places = [path.parent for path in directory.glob("seed-*/result.json")]
    if not places:
        raise ValueError(
            f"{directory} has no results: expected seed-*/result.json there, "
            "as `python -m inalu train` leaves them"
        )
    return sorted(map(_run, places), key=lambda run: run.result.settings.seed)


def _run(place: Path) -> Run:
    run = Run(
        result=_read(place / "result.json", Result.read),
        epochs=_read(place / "epochs.json", _epochs),
        history=_read(place / "history.parquet", _history),
    )
    if len(run.epochs["loss"]) != run.result.epochs:
        raise ValueError(
            f"{place} has files of two runs: result.json is of {run.result.epochs} epochs, "
            f"epochs.json of {len(run.epochs['loss'])}"
        )
    return run


def _read(path: Path, read: Callable[[Path], _T]) -> _T:
    try:
        return read(path)
    # In this order: what the system says, what JSON and Parquet say, what is not in them.
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not what `python -m inalu train` writes: {type(error).__name__}: {error}"
        ) from error


def _epochs(path: Path) -> _Columns:
    rows = json.loads(path.read_text())
    names = ("loss", "interpolation", "extrapolation")
    return _filled({name: np.array([float(row[name]) for row in rows]) for name in names})


def _history(path: Path) -> _Columns:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            f"Results need pyarrow, which is not installed: {how_to_install('experiment')}"
        ) from error
    table = parquet.read_table(path)
    actions = [name for name in ("gate", "delay") if name in table.column_names]
    return _filled({name: table[name].to_numpy() for name in ("loss", *actions)})


def _filled(columns: _Columns) -> _Columns:
    if not len(columns["loss"]):
        raise ValueError("it has no rows")
    return columns
