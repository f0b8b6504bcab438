"""Chapter 6's experiment: how fast it trains, by loopctl and otherwise, side by side in one run.

``ci/bench inalu`` takes some minutes; ``--quick`` only shows that it works, and converges nowhere.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.control import Timer
from benchmarks.ways.by_hand import ByHand
from benchmarks.ways.run import COLUMNS, Run, assign
from inalu import recipe
from inalu.experiment import Settings, controlled
from inalu.task import Batches, arithmetic_dataset
from loopctl import LoopControllerCallback, presets

Controlled = tuple[keras.Model, LoopControllerCallback]

SEED = 5  # converges from one draw of weights in every way


class Epochs(Timer):
    """Seconds of every epoch, async actions included."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.epochs: list[float] = []
        self.regularized: list[bool] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.epochs.append(self.seconds)
        self.regularized.append(bool(logs["delay"]))


class Fit:
    """Keras' `fit` under a callback; `make` gives a compiled model and the callback attached."""

    def __init__(self, make: Callable[[], Controlled], batches: Batches, epochs: int) -> None:
        self.make, self.batches, self.most = make, batches, epochs
        self.timer = Epochs()
        self.model: Any = None

    def train(self) -> Run:
        start = time.perf_counter()
        if self.model is None:
            self.model, self.control = self.make()
            self.variables = [*self.model.variables, *self.model.optimizer.variables]
            self.initial = [np.asarray(v) for v in self.variables]
        assign(self.variables, self.initial)
        self.model.stop_training = False
        self.model.fit(
            self.batches.dataset.repeat(),
            steps_per_epoch=self.batches.steps,
            epochs=self.most,
            shuffle=False,
            verbose=0,
            callbacks=[self.batches, self.control, self.timer],
        )
        seconds = time.perf_counter() - start
        history = self.control.history
        return Run(
            seconds,
            self.timer.epochs,
            self.timer.regularized,
            {name: history.column(name) for name in COLUMNS},
            self.control.epochs != len(self.timer.epochs),
            self.model.stop_training,
        )


def thesis(seed: int, jit_compile: bool = False) -> Controlled:
    """The recipe as printed: Python conditions, one step an execution."""
    keras.utils.set_random_seed(seed)
    model = recipe.build_model(seed=seed)
    recipe.compile_model(model, steps_per_execution=1, jit_compile=jit_compile)
    return model, LoopControllerCallback(recipe.config, recipe.async_config).attach(model)


def check(seed: int) -> None:
    """Ends the program if what is written by hand does not train as loopctl does.

    Two short epochs, with the regulariser in some of the second's steps, and in double precision:
    rounded otherwise, the same recipe would soon look like another.
    """
    _compute_in("float64")
    batches = arithmetic_dataset(960, seed).train.batches(64, seed)

    def make() -> Controlled:
        model, _ = controlled(Settings(seed, steps_per_execution=batches.steps))
        config = presets.inalu(delay=1, loss_below=40.0)
        return model, LoopControllerCallback(config).attach(model)

    expected = Fit(make, batches, 2).train()
    regularized = expected.steps["delay"][batches.steps :]
    if regularized.all() or not regularized.any():
        sys.exit(f"seed {seed}: the check needs steps with and without the regulariser")
    # What differs in one step by a billionth does by a thousandth in the last.
    for own, tolerance in ((True, 1e-6), (False, 0.01)):
        run = ByHand(seed, batches, 2, keras_optimizer=own, delay=1, enough=40.0).train()
        compare(f"by hand, keras_optimizer={own}", run, expected, 2 * batches.steps, tolerance)
    _compute_in("float32")


def _compute_in(dtype: str) -> None:
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)


def compare(name: str, run: Run, expected: Run, steps: int, tolerance: float) -> None:
    """Ends the program if the first steps of two runs have other values."""
    for column in COLUMNS:
        a, b = run.steps[column][:steps], expected.steps[column][:steps]
        same = np.isclose(a, b, rtol=tolerance, atol=0.0, equal_nan=True)
        if not same.all():
            i = int(np.argmin(same))
            sys.exit(f"{name}: {column} of step {i} is {a[i]:.6g}, by loopctl {b[i]:.6g}")


class Measured:
    """The rounds of a way, the first of which builds, traces and compiles.

    `rounds`: microseconds a step of each later round; `before` and `after`: the same without and
    with the regulariser, medians of a round's epochs.
    """

    def __init__(self, runs: list[Run]) -> None:
        self.first, *self.later = runs
        self.steps = len(self.first.steps["loss"]) / len(self.first.epochs)
        self.rounds = [self._step(run.seconds / len(run.epochs)) for run in self.later]
        self.before, self.after = (
            [self._step(statistics.median(chosen)) for run in self.later if (chosen := run.of(on))]
            for on in (False, True)
        )

    def _step(self, seconds: float) -> float:
        """Microseconds a step of an epoch."""
        return seconds / self.steps * 1e6

    def cells(self) -> list[str]:
        speed = f"{1e6 / statistics.median(self.rounds):.0f}"
        times = [_spread(times) for times in (self.rounds, self.before, self.after)]
        if not self.first.converged:
            return [speed, *times, "-", "-", "-"]
        later = statistics.median(run.seconds for run in self.later)
        epochs = f"{len(self.first.epochs)}{'*' if self.first.redrawn else ''}"
        return [speed, *times, epochs, f"{self.first.seconds:.1f}", f"{later:.1f}"]


def _spread(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ({max(times) / min(times):.2f})" if times else "-"


HEADINGS = (
    "way to train|steps/s|µs a step|before reg.|with reg.|epochs|s, first|s, later|"
    "(a) over it, goal ≥ 3|it over (b), goal ≤ 1.15"
)
OURS = "loopctl", "(c) loopctl, XLA"


def table(measured: dict[str, Measured]) -> None:
    """Prints a row for each way, and the ratios of ours to the others."""
    steps = {name: statistics.median(m.rounds) for name, m in measured.items()}
    rows = [HEADINGS.split("|")]
    for name, m in measured.items():
        ratios = steps["(a) Python conditions"] / steps[name], steps[name] / steps["(b) by hand"]
        rows.append([name, *m.cells(), *(f"{r:.2f}" if name in OURS else "-" for r in ratios)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        right = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        print("  ".join([f"{name:<{widths[0]}}", *right]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few samples, epochs and rounds")
    parser.add_argument("--seed", type=int, default=SEED, help="of data and weights")
    parser.add_argument("--rounds", type=int, help="counted ones of each way (default: 5)")
    options = parser.parse_args()
    seed, quick = options.seed, options.quick
    rounds, samples, epochs = (2, 6_400, 3) if quick else (5, 64_000, 120)
    rounds = options.rounds or rounds
    # As each of several runs in parallel has.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    check(seed)
    batches = arithmetic_dataset(samples, seed).train.batches(64, seed)

    def by_loopctl(jit_compile: bool) -> Fit:
        several = min(1000, batches.steps)
        settings = Settings(seed, steps_per_execution=several, jit_compile=jit_compile)
        return Fit(lambda: controlled(settings), batches, epochs)

    def by_hand(**changes: Any) -> ByHand:
        return ByHand(seed, batches, epochs, **changes)

    ways: dict[str, Fit | ByHand] = {
        "loopctl": by_loopctl(jit_compile=False),
        "(a) Python conditions": Fit(lambda: thesis(seed), batches, epochs),
        "(b) by hand": by_hand(),
        "by hand, Keras' RMSprop": by_hand(keras_optimizer=True),
        "(c) loopctl, XLA": by_loopctl(jit_compile=True),
        "Python conditions, XLA": Fit(lambda: thesis(seed, True), batches, epochs),
        "by hand, XLA": by_hand(jit_compile=True),
    }
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for turn, (name, way) in itertools.product(range(rounds + 1), ways.items()):
        run = way.train()
        runs[name].append(run)
        compare(name, run, runs["loopctl"][0], 20, 0.01)
        print(f"round {turn} of {rounds}: {name}, {run.seconds:.1f} s", file=sys.stderr)
    print(
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, one thread; seed {seed}, "
        f"{batches.steps} steps of 64 an epoch.\nMedians of {rounds} rounds, in turns "
        "(slowest/fastest), each a training from the same weights to convergence.\n"
    )
    table({name: Measured(of_way) for name, of_way in runs.items()})
    print(
        "\nreg.: the regulariser; epochs and s: to convergence (*: from new weights in between); "
        "first: the round before\nthe others, with building, tracing and compiling. "
        "All ways have the same losses in their first steps."
    )


if __name__ == "__main__":
    main()
