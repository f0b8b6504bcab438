"""The arithmetic task: (x1 - x2)(x3 - x4) + x5 x6, to be found among seven inputs."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

__all__ = [
    "FEATURES",
    "FORMULA",
    "ArithmeticDataset",
    "Batches",
    "Samples",
    "arithmetic_dataset",
    "target",
]

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

    def batches(self, batch_size: int = 64, seed: int = 0) -> "Batches":
        """Batches of ((batch_size, 7), (batch_size, 1)), in another order each epoch."""
        return Batches(self, batch_size, seed)


class Batches(keras.callbacks.Callback):
    """Batches in an order that depends on the seed and the epoch's number alone.

    So a run that was killed and is resumed sees the batches that it would have seen. Pass `dataset`
    to `fit` and the object itself among the callbacks; without that, all epochs have one order. A
    remainder that fills no batch is dropped, so that all steps have one shape.

    Args:
        samples: n of them, at least batch_size.
        batch_size: samples a batch.
        seed: of all orders.

    Attributes:
        dataset: a `tf.data.Dataset` of pairs of float32 tensors (batch_size, features) and
            (batch_size, outputs).
        epoch: the number of the epoch that an iteration begins, a variable.

    Raises:
        ValueError: the samples do not fill a batch.
    """

    def __init__(self, samples: Samples, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.steps, self.batch_size = len(samples.x) // batch_size, batch_size
        if not self.steps:
            raise ValueError(f"{len(samples.x)} samples do not fill a batch of {batch_size}.")
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
        self._seed, self._samples = seed, (tf.constant(samples.x), tf.constant(samples.y))
        epochs = tf.data.Dataset.from_tensors(0).flat_map(
            lambda _: tf.data.Dataset.from_tensor_slices(self.arrays())
        )
        sized = epochs.apply(tf.data.experimental.assert_cardinality(self.steps))
        # TensorFlow adds a prefetch where there is none. A batch that is only sliced is not worth
        # being handed from one thread to another, which is a tenth of a train step.
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        self.dataset = sized.with_options(options)

    def arrays(self) -> tuple[Any, Any]:
        """The batches of the epoch of that number, for a loop of one's own.

        Returns:
            Tensors (steps, batch_size, features) and (steps, batch_size, outputs).
        """
        # The whole epoch at once: shuffling sample by sample takes longer than a train step.
        x, y = self._samples
        key = tf.stack([tf.cast(self._seed, tf.int64), self.epoch.read_value()])
        order = tf.random.experimental.stateless_shuffle(tf.range(len(x)), key)
        order = order[: self.steps * self.batch_size]
        order = tf.reshape(order, (self.steps, self.batch_size))
        return tf.gather(x, order), tf.gather(y, order)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch.assign(epoch)


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
