"""The minimal arithmetic task of the iNALU paper.

Two inputs, one output, one operation, 64 000 samples from one distribution. All distributions,
operations and seeds of one module are trained as copies in one graph, each on data of its own.

Source: Schlör, Ring and Hotho, "iNALU: Improved Neural Arithmetic Logic Unit", 2020
(arXiv 2003.07629), and the authors' code (daschloer/inalu on GitHub).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

import verify
from inalu.benchmark.copies import (
    CopyLosses,
    CopywiseRMSprop,
    SumOfErrors,
    measured,
    median,
    model_of,
    stuck,
)
from inalu.benchmark.nalm import OPERATIONS, target
from inalu.layers import NALU, ArithmeticLayer, OriginalNALU
from inalu.layers.ensemble import Ensemble
from inalu.layers.nalu import sparsity
from loopctl import LoopControllerCallback, when

Floats = npt.NDArray[Any]

BATCH = 64
STEPS = 1000
EPOCHS = 100
SEEDS = 10
# Successful is a lower mean squared error outside of the training range.
SUCCESS = 1e-5


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Where inputs come from: `kind` is E (exponential), N (truncated normal) or U (uniform).

    `inside`: of training; `outside`: of extrapolation. Of E the mean; of U the bounds; of N the
    bounds, which are three standard deviations from the mean.
    """

    kind: str
    inside: tuple[float, ...]
    outside: tuple[float, ...]

    @property
    def name(self) -> str:
        return f"{self.kind}({', '.join(f'{bound:g}' for bound in self.inside)})"

    def draw(self, draws: np.random.Generator, count: int, *, outside: bool = False) -> Floats:
        """Samples (count, 2), float32."""
        bounds, shape = self.outside if outside else self.inside, (count, 2)
        low, high = bounds[0], bounds[-1]
        if self.kind == "E":
            values = draws.exponential(low, shape)
        elif self.kind == "U":
            values = draws.uniform(low, high, shape)
        else:
            values = _truncated_normal(draws, low, high, shape)
        return values.astype(np.float32)


DISTRIBUTIONS = (
    Distribution("E", (0.2,), (0.5,)),
    Distribution("E", (0.8,), (0.5,)),
    Distribution("N", (-2, 4), (8, 10)),
    Distribution("N", (-3, 3), (8, 10)),
    Distribution("N", (-4, 2), (8, 10)),
    Distribution("U", (-1, 1), (-10, -5)),
    Distribution("U", (-5, 5), (-10, -5)),
)

_GLOBAL = {
    "w": keras.initializers.RandomNormal(1.0, 0.1),
    "m": keras.initializers.RandomNormal(-1.0, 0.1),
    "g": keras.initializers.RandomNormal(0.0, 0.1),
}
"""Initial values of the authors' training scripts."""


class _ScriptNALU(OriginalNALU):
    """The first NALU with the initial values that the authors of iNALU gave it."""

    def _weight_specs(self, features: int) -> Any:
        return [s._replace(initializer=_GLOBAL[s.name]) for s in super()._weight_specs(features)]


MODULES: dict[str, Callable[[], ArithmeticLayer]] = {
    "NALU": lambda: _ScriptNALU(1),
    "iNALU": lambda: NALU(1),
}
"""Both are trained, and regularised, as an iNALU is."""

PUBLISHED: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "NALU": {
        "E(0.2)": (0, 0, 7, 0),
        "E(0.8)": (10, 0, 10, 0),
        "N(-2, 4)": (10, 0, 8, 0),
        "N(-3, 3)": (0, 0, 0, 0),
        "N(-4, 2)": (0, 0, 0, 0),
        "U(-1, 1)": (10, 0, 8, 0),
        "U(-5, 5)": (0, 0, 0, 0),
    },
    "iNALU": {
        "E(0.2)": (10, 10, 0, 0),
        "E(0.8)": (10, 10, 10, 7),
        "N(-2, 4)": (10, 10, 10, 5),
        "N(-3, 3)": (10, 10, 10, 3),
        "N(-4, 2)": (10, 10, 0, 3),
        "U(-1, 1)": (10, 10, 10, 3),
        "U(-5, 5)": (10, 10, 10, 3),
    },
}
"""Successes of 10 seeds in add, sub, mul and div, counted in the authors' file of results
(experiment_runs/exp1/exp1_nalu_minimal_arith_results_ext.csv, "nalu__paperm" and "nalui2").
"""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one module, operation and distribution after the last epoch."""

    module: str
    operation: str
    distribution: str
    successes: int
    seeds: int
    extrapolation: float
    reinitialized: int


def config() -> dict[str, Any]:
    """Weights and gates in turns, then the regulariser's step for each, all clipped to ±0.1.

    The regulariser is that of the copies whose loss in this batch was below 1: `Ensemble.active`.
    """
    clipped, late = {"clipping": (-0.1, 0.1)}, when.epochs > 10
    discrete = {"loss": None, "regularize": True, **clipped}
    return {
        "gate": {
            "cond": when.batches % 10 < 8,
            True: {**clipped, "excluded_variables": "*/g"},
            False: {**clipped, "variables": "*/g"},
        },
        "discrete_weights": {"cond": late, True: {**discrete, "excluded_variables": "*/g"}},
        "discrete_gates": {"cond": late, True: {**discrete, "variables": "*/g"}},
    }


def run(
    module: str,
    *,
    seeds: int = SEEDS,
    epochs: int = EPOCHS,
    steps: int = STEPS,
    distributions: Sequence[Distribution] = DISTRIBUTIONS,
) -> list[Outcome]:
    """Train one module on all operations and distributions, with all seeds.

    Before the first step the graphs of all substeps are held against the config.

    Args:
        module: a key of `MODULES`.
        seeds: how many for each operation and distribution.
        epochs: as published, or fewer.
        steps: train steps an epoch.
        distributions: to train on.

    Raises:
        verify.GraphAssertionError: a substep is not what the config says.
    """
    keras.utils.set_random_seed(0)
    tasks = [(d, o) for d, o in itertools.product(distributions, OPERATIONS) for _ in range(seeds)]
    ensemble = Ensemble(MODULES[module](), len(tasks), penalty=_sparsity)
    model = model_of(ensemble, BATCH)
    losses = CopyLosses(ensemble, steps * 10)
    model.compile(CopywiseRMSprop(0.01), SumOfErrors(), metrics=[losses], steps_per_execution=steps)
    control = LoopControllerCallback(config()).attach(model)
    draws = np.random.default_rng(0)
    x, y = _samples(tasks, draws, steps * BATCH)
    # One order for all epochs, as in the authors' script.
    batches = tf.data.Dataset.from_tensor_slices((_batched(x), _batched(y)))
    verify.assert_config(model, control, batches)
    # Only now: with it, data decide on the regulariser, which is then no regulariser to verify.
    losses.below = 1.0
    control.attach(model)
    restarts = Restarts(ensemble, losses)
    model.fit(
        batches,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[control, restarts],
    )
    errors = measured(model, *_samples(tasks, draws, 10_000, outside=True))
    outcomes = []
    for distribution, operation in itertools.product(distributions, OPERATIONS):
        those = np.array([task == (distribution, operation) for task in tasks])
        outcomes.append(
            Outcome(
                module,
                operation,
                distribution.name,
                int((errors[those] < SUCCESS).sum()),
                int(those.sum()),
                median(errors[those]),
                int(restarts.count[those].sum()),
            )
        )
    return outcomes


class Restarts(keras.callbacks.Callback):
    """Starts those copies afresh that have not come down in ten epochs.

    Those that are `stuck` by the losses of all steps since the last start. New weights are from
    U(-2, 2). The authors look in every batch of each tenth epoch, we look before the first.
    """

    def __init__(self, ensemble: Ensemble, losses: CopyLosses) -> None:
        super().__init__()
        self.ensemble, self.losses = ensemble, losses
        self.count = np.zeros(ensemble.copies, int)
        self._since: list[Floats] = []
        self._kept = np.zeros(ensemble.copies, int)  # epochs since the last start, in tens
        self._draws = np.random.default_rng(2)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % 10:
            return
        self._since.append(np.array(self.losses.losses))
        self._kept += 1
        those = np.array([stuck(self._losses(copy)) for copy in range(self.ensemble.copies)])
        if those.any():
            self.ensemble.reinitialize(those, lambda shape: self._draws.uniform(-2, 2, shape))
        self._kept[those] = 0
        self.count += those

    def _losses(self, copy: int) -> Floats:
        return np.concatenate([block[:, copy] for block in self._since[-self._kept[copy] :]])


def _sparsity(**weights: Any) -> Any:
    return sparsity(list(weights.values()))


def _samples(
    tasks: Sequence[tuple[Distribution, str]],
    draws: np.random.Generator,
    count: int,
    *,
    outside: bool = False,
) -> tuple[Floats, Floats]:
    """Inputs (C, count, 2) and answers (C, count, 1), float32."""
    x = np.stack([distribution.draw(draws, count, outside=outside) for distribution, _ in tasks])
    y = np.stack([target(own, op) for (_, op), own in zip(tasks, x, strict=True)])
    return x, y.astype(np.float32)


def _batched(samples: Floats) -> Floats:
    """Of (C, steps * BATCH, n): (steps, C, BATCH, n)."""
    copies, count, width = samples.shape
    return samples.reshape(copies, count // BATCH, BATCH, width).transpose(1, 0, 2, 3)


def _truncated_normal(
    draws: np.random.Generator, low: float, high: float, shape: tuple[int, int]
) -> Floats:
    """Drawn again and again where it is out of bounds: a third of a percent at a time."""
    mean, deviation = (low + high) / 2, (high - low) / 6
    values = draws.normal(mean, deviation, shape)
    while (out := (values < low) | (values > high)).any():
        values[out] = draws.normal(mean, deviation, int(out.sum()))
    return values
