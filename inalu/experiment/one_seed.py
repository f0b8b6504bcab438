"""One run of chapter 6's experiment: a seed and a variant, resumable after a kill."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import verify
from inalu import recipe
from inalu.environment import environment
from inalu.experiment.variants import CONVERGED, VARIANTS, WINDOW
from inalu.explanation import explain
from inalu.result_files import check_settings, write_json
from inalu.task import FORMULA, ArithmeticDataset, Batches, arithmetic_dataset
from loopctl import Backup, LoopControllerCallback
from loopctl_shared import whole

# Successful is a run with a lower mean squared error outside of the training range. Source: Schlör,
# Ring and Hotho, "iNALU: Improved Neural Arithmetic Logic Unit", 2020.
SUCCESS = 1e-5


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that a run depends on, besides the versions of what it runs on.

    `seed`: of data, their order, and initial weights; `samples`: of each data set; `epochs`: at
    most this many; `steps_per_execution`: train steps between two looks of Python; `jit_compile`:
    train under XLA; `variant`: of the recipe, a name in `VARIANTS`.
    """

    seed: int
    samples: int = 64_000
    batch_size: int = 64
    epochs: int = 120
    steps_per_execution: int = 1000
    jit_compile: bool = False
    variant: str = "chapter-6"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"variant is {self.variant!r}, expected one of {', '.join(VARIANTS)}")

    @property
    def name(self) -> str:
        """Of the run among others, as a relative path."""
        seed = f"seed-{self.seed}"
        return seed if self.variant == "chapter-6" else f"{self.variant}/{seed}"


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a run.

    `epochs`: trained; `reinitialized`: the epochs after which weights were drawn anew; `converged`:
    whether it stopped itself; `log10_loss`: of the mean loss of the last 3000 steps;
    `interpolation_mse`, `extrapolation_mse`: inside and outside of the training range; `success`:
    whether the latter is below `SUCCESS`; `formula`: what was learned, `discrete` if no weight that
    counts is far from it, and `proved` if SymPy proves it equal to the target; `seconds`: of
    training, since the last resumption; `environment`: versions by name, and what counts besides:
    sums of two threads are not those of one.
    """

    settings: Settings
    epochs: int
    reinitialized: tuple[int, ...]
    converged: bool
    log10_loss: float
    interpolation_mse: float
    extrapolation_mse: float
    success: bool
    formula: str
    discrete: bool
    proved: bool
    seconds: float
    environment: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Result:
        """From a file that `train` wrote."""
        values = json.loads(path.read_text())
        settings, reinitialized = Settings(**values["settings"]), tuple(values["reinitialized"])
        return cls(**{**values, "settings": settings, "reinitialized": reinitialized})


def controlled(settings: Settings) -> tuple[Any, LoopControllerCallback]:
    """The model of chapter 6 and the callback attached to it, neither trained."""
    variant = VARIANTS[settings.variant]
    keras.utils.set_random_seed(settings.seed)
    model = recipe.build_model(seed=settings.seed, **variant.layer)
    recipe.compile_model(
        model,
        steps_per_execution=settings.steps_per_execution,
        jit_compile=settings.jit_compile,
    )
    return model, LoopControllerCallback(variant.config(), variant.asynchronous()).attach(model)


def train(settings: Settings, directory: Path) -> Result:
    """Train one seed, or go on where a killed run of these settings was, and write what came of it.

    Before the first step every substep's graph is held against the config.

    Args:
        settings: of the run.
        directory: of this run alone, made if missing. Afterwards it holds ``result.json``,
            ``epochs.json`` (errors and losses of each epoch) and ``history.parquet`` (loss and
            control states of each step). A run that has its result is not trained again.

    Raises:
        ValueError: the directory holds a run of other settings.
        verify.GraphAssertionError: a step is not what the config says.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _claim(directory / "settings.json", settings)
    if (directory / "result.json").exists():
        return Result.read(directory / "result.json")
    data = arithmetic_dataset(settings.samples, settings.seed)
    batches = data.train.batches(settings.batch_size, settings.seed)
    model, control = controlled(settings)
    verify.assert_config(model, control, batches.dataset)
    epochs = Epochs(directory / "epochs.json", data, batches, control, settings.epochs)
    backup = Backup(directory / "backup")
    start = time.perf_counter()
    model.fit(
        # One iterator for all epochs: Keras makes two for each otherwise, at a cost of many steps.
        batches.dataset.repeat(),
        steps_per_epoch=batches.steps,
        epochs=settings.epochs,
        initial_epoch=settings.epochs if backup.stopped else backup.epoch,
        shuffle=False,
        verbose=0,
        # In this order: the errors are those of the weights that were trained, and what is backed
        # up are the weights after a reinitialisation.
        callbacks=[batches, epochs, control, backup],
    )
    seconds = time.perf_counter() - start
    _write_history(control, directory / "history.parquet")
    result = _result(settings, model, control, epochs, data, seconds)
    write_json(directory / "result.json", dataclasses.asdict(result))
    shutil.rmtree(backup.directory)
    return result


class Epochs(keras.callbacks.Callback):
    """Keeps a row for each epoch in a file: errors, losses, steps since the weights were drawn.

    A resumed run goes on after the rows of the epochs that it need not train again.
    """

    def __init__(
        self,
        path: Path,
        data: ArithmeticDataset,
        batches: Batches,
        control: LoopControllerCallback,
        most: int,
    ) -> None:
        super().__init__()
        self.path, self.control, self.steps, self.most = path, control, batches.steps, most
        samples = {"interpolation": data.interpolation, "extrapolation": data.extrapolation}
        self._samples = {
            name: (tf.constant(s.x), s.y.astype(np.float64)) for name, s in samples.items()
        }
        self.rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del self.rows[epoch:]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        losses = self.control.history.column("loss", WINDOW)
        since = int(self.control.reinit_batches)
        row = {
            "epoch": epoch,
            "of": self.most,
            "loss": float(np.mean(losses[-self.steps :])),
            "window_loss": float(np.mean(losses[-since:])),
            "steps_since_drawn": since,
        }
        row |= {name: self._error(*pair) for name, pair in self._samples.items()}
        self.rows.append(row)
        write_json(self.path, self.rows)

    def _error(self, x: Any, y: Any) -> float:
        predicted = np.asarray(self.model.predict_on_batch(x), np.float64)
        return float(np.mean(np.square(predicted - y)))


def reinitialized(rows: list[dict[str, Any]]) -> tuple[int, ...]:
    """After how many epochs weights were drawn anew, from the rows of `Epochs`."""
    drawn = [row["steps_since_drawn"] for row in rows]
    return tuple(i for i in range(1, len(drawn)) if drawn[i] <= drawn[i - 1])


def _result(
    settings: Settings,
    model: Any,
    control: LoopControllerCallback,
    epochs: Epochs,
    data: ArithmeticDataset,
    seconds: float,
) -> Result:
    found = explain(model, data.extrapolation.x)
    last = epochs.rows[-1]
    loss = last["window_loss"]
    return Result(
        settings=settings,
        epochs=len(epochs.rows),
        reinitialized=reinitialized(epochs.rows),
        converged=loss < CONVERGED,
        log10_loss=float(np.log10(loss)) if loss > 0 else -np.inf,
        interpolation_mse=last["interpolation"],
        extrapolation_mse=last["extrapolation"],
        success=last["extrapolation"] < SUCCESS,
        formula=found.formulas[0],
        discrete=found.is_discrete,
        proved=found.proves(FORMULA),
        seconds=seconds,
        environment=environment(),
    )


def _claim(path: Path, settings: Settings) -> None:
    """Note the settings, or refuse a directory in which there are others."""
    wanted = dataclasses.asdict(settings)
    if path.exists():
        check_settings(path, json.loads(path.read_text()), wanted)
    write_json(path, wanted)


def _write_history(control: LoopControllerCallback, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = control.history.to_dict()
    with whole(path) as part:
        parquet.write_table(pyarrow.table({name: columns[name] for name in columns}), part)
