"""The single-module arithmetic task of the NALM benchmark.

Two inputs, one output, one operation; a range to train on and one to extrapolate to. All ranges and
seeds of one module and operation are trained as copies in one graph, each on data of its own.

Source: Mistry, Farrahi and Hare, "A Primer for Neural Arithmetic Logic Modules", 2022, and the
authors' code (bmistry4/nalm-benchmark on GitHub).
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

import verify
from inalu.benchmark.copies import SumOfErrors, measured, median, model_of, stuck
from inalu.layers.ensemble import Ensemble
from inalu.papers import DELAY, RECIPES
from loopctl import presets, when

Floats = npt.NDArray[Any]
Interval = tuple[float, float]

BATCH = 128
ITERATIONS = 50_000
SEEDS = 25
# Between two looks at the errors, as published.
INTERVAL = 1000
SAMPLES = 10_000
# Looks since the last start of an iNALU before it may start afresh: after 5000 iterations.
PATIENCE = 6

# Of arrays and of tensors.
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
}

MODULES: dict[str, dict[str, str]] = {
    "NAC": {"add": "NAC", "sub": "NAC", "mul": "NAC*", "div": "NAC*"},
    "NALU": dict.fromkeys(OPERATIONS, "NALU"),
    "iNALU": dict.fromkeys(OPERATIONS, "iNALU"),
    "NAU": dict.fromkeys(("add", "sub"), "NAU"),
    "NMU": {"mul": "NMU"},
    "NPU": {"mul": "NPU", "div": "NPU for quotients"},
    "RealNPU": {"mul": "RealNPU", "div": "RealNPU for quotients"},
}
"""By module: the operations that it is tried on, with the recipe for each."""


@dataclasses.dataclass(frozen=True, eq=False)
class Range:
    """Where inputs come from, and the error below which extrapolation has succeeded.

    `inside`: of training and interpolation; `outside`: of extrapolation, parts of equal length;
    `thresholds`: of the mean squared error outside, by operation.
    """

    inside: Interval
    outside: tuple[Interval, ...]
    thresholds: Mapping[str, float]

    @property
    def name(self) -> str:
        return "[{:g}, {:g}]".format(*self.inside)


def _range(
    inside: Interval, outside: Sequence[Interval], sums: float, mul: float, div: float
) -> Range:
    return Range(inside, tuple(outside), {"add": sums, "sub": sums, "mul": mul, "div": div})


RANGES: tuple[Range, ...] = (
    _range((-20, -10), [(-40, -20)], 3.67e-7, 3.48e-4, 4.67e-10),
    _range((-2, -1), [(-6, -2)], 6.67e-9, 1.20e-7, 5.78e-10),
    _range((-1.2, -1.1), [(-6.1, -1.2)], 5.73e-9, 9.39e-8, 8.37e-10),
    _range((-0.2, -0.1), [(-2, -0.2)], 5.38e-10, 8.76e-10, 1.48e-9),
    _range((-2, 2), [(-6, -2), (2, 6)], 6.67e-9, 1.20e-7, 5.78e-10),
    _range((0.1, 0.2), [(0.2, 2)], 5.38e-10, 8.76e-10, 1.48e-9),
    _range((1, 2), [(2, 6)], 6.67e-9, 1.20e-7, 5.78e-10),
    _range((1.1, 1.2), [(1.2, 6)], 5.56e-9, 8.85e-8, 8.25e-10),
    _range((10, 20), [(20, 40)], 3.67e-7, 3.48e-4, 4.67e-10),
)
"""The nine ranges; thresholds of epsilon = 1e-5: the error of the exact module with weights
that are all off by that much."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one module, operation and range.

    `successes` of `seeds`: those whose extrapolation error was below the threshold where their
    interpolation error was lowest; `solved_at`: of these, the median of the first iteration from
    which on it was; `extrapolation`: the median of that error over all seeds.
    """

    module: str
    operation: str
    range: str
    successes: int
    seeds: int
    solved_at: float | None
    extrapolation: float


def run(
    module: str,
    operation: str,
    *,
    seeds: int = SEEDS,
    iterations: int = ITERATIONS,
    ranges: Sequence[Range] = RANGES,
) -> list[Outcome]:
    """Train one module on one operation, in all ranges, with all seeds.

    Before the first step the graphs of all substeps are held against the recipe.

    Args:
        module: a key of `MODULES`.
        operation: of those that it is tried on.
        seeds: how many for each range.
        iterations: train steps, a multiple of `INTERVAL`.
        ranges: to train on.

    Raises:
        KeyError: the module is not tried on that operation.
        verify.GraphAssertionError: a substep is not what the recipe says.
    """
    name = MODULES[module][operation]
    recipe = RECIPES[name]
    keras.utils.set_random_seed(0)
    of_copy = [r for r in ranges for _ in range(seeds)]
    ensemble = Ensemble(recipe.layer(1), len(of_copy))
    model = model_of(ensemble, BATCH)
    data = _batches(of_copy, operation)
    looks = Looks(of_copy, operation)
    if name == "iNALU":
        # Each copy by its own interpolation error, which is looked at as often as it is here.
        recipe = dataclasses.replace(recipe, config=_delayed)
        looks.improving = True
    control = recipe.compile(model, loss=SumOfErrors(), steps_per_execution=INTERVAL)
    verify.assert_config(model, control, data)
    model.fit(
        data,
        steps_per_epoch=INTERVAL,
        epochs=iterations // INTERVAL,
        shuffle=False,
        verbose=0,
        callbacks=[control, looks],
    )
    return looks.outcomes(module, operation, ranges)


def _delayed() -> dict[str, Any]:
    """All clipped; the regulariser, of the copies that are active, after the delay."""
    return presets.delayed_regularization(when.batches > DELAY, clipping=(-0.1, 0.1))


class Looks(keras.callbacks.Callback):
    """Errors of all copies inside and outside, before training and after every epoch.

    With `improving`, those copies are regularised whose error inside is below 1, and those start
    afresh that are `stuck` by their errors inside, after at least `PATIENCE` looks.

    `inside`, `outside`: a row of (C,) errors for each look.
    """

    improving = False

    def __init__(self, of_copy: Sequence[Range], operation: str) -> None:
        super().__init__()
        self.of_copy = of_copy
        self.inside: list[Floats] = []
        self.outside: list[Floats] = []
        self._since = np.zeros(len(of_copy), int)  # looks before the last start
        distinct = dict.fromkeys(of_copy)
        draws = np.random.default_rng(1)
        inner = {r: _drawn(draws, (r.inside,), SAMPLES) for r in distinct}
        outer = {r: _drawn(draws, r.outside, SAMPLES) for r in distinct}
        samples = [np.stack([of[r] for r in of_copy]) for of in (inner, outer)]
        self._samples = [(x, target(x, operation)) for x in samples]

    def on_train_begin(self, logs: Any = None) -> None:
        self._look()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._look()

    def _look(self) -> None:
        errors = [measured(self.model, x, y) for x, y in self._samples]
        self.inside.append(errors[0])
        self.outside.append(errors[1])
        if self.improving:
            (ensemble,) = self.model.layers
            ensemble.active.assign((errors[0] < 1).astype("float32"))
            self._restart(ensemble)

    def _restart(self, ensemble: Ensemble) -> None:
        looks = len(self.inside)
        rows = np.array(self.inside)
        those = np.array(
            [
                looks - since >= PATIENCE and stuck(rows[since:, copy])
                for copy, since in enumerate(self._since)
            ]
        )
        if those.any():
            ensemble.reinitialize(those)
        self._since[those] = looks

    def outcomes(self, module: str, operation: str, ranges: Sequence[Range]) -> list[Outcome]:
        """One for each range."""
        inside, outside = np.array(self.inside), np.array(self.outside)
        # A copy that has overflowed is never the best.
        inside = np.where(np.isfinite(inside), inside, np.inf)
        thresholds = np.array([r.thresholds[operation] for r in self.of_copy])
        copies = np.arange(len(self.of_copy))
        best = outside[np.argmin(inside, axis=0), copies]
        solved = best < thresholds
        first = np.argmax(outside < thresholds, axis=0) * INTERVAL
        found = []
        for of_range in ranges:
            those = np.array([r is of_range for r in self.of_copy])
            when_solved = first[those & solved]
            found.append(
                Outcome(
                    module,
                    operation,
                    of_range.name,
                    int(solved[those].sum()),
                    int(those.sum()),
                    float(np.median(when_solved)) if when_solved.size else None,
                    median(best[those]),
                )
            )
        return found


def target(x: Floats, operation: str) -> Floats:
    """Answers (..., 1) to inputs (..., 2), in double precision."""
    left, right = np.split(x.astype(np.float64), 2, axis=-1)
    answer: Floats = OPERATIONS[operation](left, right)
    return answer


def _drawn(draws: np.random.Generator, parts: Sequence[Interval], count: int) -> Floats:
    """Inputs (count, 2), from each of the parts equally often."""
    bounds = np.array(parts)[draws.integers(len(parts), size=(count, 2))]
    return draws.uniform(bounds[..., 0], bounds[..., 1]).astype(np.float32)


def _batches(of_copy: Sequence[Range], operation: str) -> Any:
    """Endless batches of ((C, BATCH, 2), (C, BATCH, 1)), fresh samples for every copy."""
    low, high = np.array([r.inside for r in of_copy], np.float32).T[..., None, None]
    shape = (len(of_copy), BATCH, 2)

    def batch(step: Any) -> tuple[Any, Any]:
        uniform = tf.random.stateless_uniform(shape, tf.stack([tf.constant(7, step.dtype), step]))
        x = low + (high - low) * uniform
        return x, OPERATIONS[operation](x[..., :1], x[..., 1:])

    return tf.data.Dataset.counter().map(batch).prefetch(tf.data.AUTOTUNE)
