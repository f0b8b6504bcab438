"""The arithmetic task: (x1 - x2)(x3 - x4) + x5 x6, to be found among seven inputs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

FEATURES = 7
FORMULA = "(x1 - x2) * (x3 - x4) + x5 * x6"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """Inputs and targets of one range.

    Attributes:
        x: (n, 7) float32.
        y: (n, 1) float32.
    """

    x: Floats
    y: Floats

    def batches(self, batch_size: int = 64, seed: int = 0) -> Any:
        """A `tf.data.Dataset` of ((batch_size, 7), (batch_size, 1)), shuffled anew each epoch.

        A remainder that fills no batch is dropped, so that all steps have one shape.
        """
        samples = tf.data.Dataset.from_tensor_slices((self.x, self.y))
        shuffled = samples.shuffle(len(self.x), seed=seed, reshuffle_each_iteration=True)
        return shuffled.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True)
class ArithmeticDataset:
    """Three independent draws: to train on, to test in its range, to test outside of it."""

    train: Samples
    interpolation: Samples
    extrapolation: Samples


def arithmetic_dataset(
    samples: int = 64_000,
    seed: int = 0,
    *,
    low: float = -3.0,
    high: float = 3.0,
    extrapolation_low: float = 10.0,
    extrapolation_high: float = 15.0,
) -> ArithmeticDataset:
    """Training, interpolation and extrapolation samples of the task.

    Args:
        samples: how many of each, at least 1.
        seed: the same seed gives the same samples on every machine.
        low, high: range of the uniform distribution to train on and to interpolate in.
        extrapolation_low, extrapolation_high: range to extrapolate to.

    Raises:
        ValueError: samples is below 1 or a range is empty.

    Source: sections 6.1.1 and 6.1.2 of the thesis. The seventh input is not used by the
    target: leaving it out is part of the task.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}, expected at least 1.")
    ranges = [(low, high), (low, high), (extrapolation_low, extrapolation_high)]
    for lower, upper in ranges:
        if not lower < upper:
            raise ValueError(f"The range ({lower}, {upper}) is empty.")
    streams = np.random.SeedSequence(seed).spawn(len(ranges))
    return ArithmeticDataset(
        *(_draw(stream, samples, *bounds) for stream, bounds in zip(streams, ranges, strict=True))
    )


def target(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The task's exact answer for inputs (n, 7): (n, 1) of the same dtype."""
    x1, x2, x3, x4, x5, x6, _ = np.split(x, FEATURES, axis=1)
    answer: npt.NDArray[Any] = (x1 - x2) * (x3 - x4) + x5 * x6
    return answer


def _draw(stream: np.random.SeedSequence, samples: int, low: float, high: float) -> Samples:
    x = np.random.default_rng(stream).uniform(low, high, (samples, FEATURES)).astype(np.float32)
    # Of the rounded inputs, in double precision: the targets are then right to half a unit
    # in the last place, and training can go as far down as float32 allows.
    return Samples(x=x, y=target(x.astype(np.float64)).astype(np.float32))
