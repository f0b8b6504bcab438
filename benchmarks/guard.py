"""What a guard costs while training: `ci/bench guard [--rounds N]`.

Each model is trained in turns without a guard, with one that looks at every 100th step, and with
one that looks at every step, all in one run. Prints medians of milliseconds a step, and over the
plain one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import verify

_WAYS: dict[str, int | None] = {"plain": None, "every=100": 100, "every=1": 1}
Made = tuple[keras.Model, Any, Any]


def dense() -> Made:
    layers = keras.layers
    widths = [layers.Dense(width, "relu") for width in (3, 2)]
    model = keras.Sequential([keras.Input((7,)), *widths, layers.Dense(1)])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(64, 7)).astype("float32")
    return model, x, x[:, :1]


def digits() -> Made:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 28, 28, 1)).astype("float32")
    return model, x, random.integers(10, size=64)


def resnet() -> Made:
    model = keras.applications.ResNet50(weights=None, classes=10, input_shape=(64, 64, 3))
    model.compile("adam", "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 64, 64, 3)).astype("float32")
    return model, x, random.integers(10, size=16)


class Timed(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._begun = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._begun)


def compare(make: Callable[[], Made], steps: int, at_once: int, rounds: int) -> dict[str, float]:
    """Median milliseconds a step, by way, of epochs in turns."""
    model, x, y = make()
    model.steps_per_execution = at_once
    x, y = np.concatenate([x] * steps), np.concatenate([y] * steps)
    taken: dict[str, list[float]] = {way: [] for way in _WAYS}
    for _ in range(rounds):
        for way, every in _WAYS.items():
            timed = Timed()
            guards = (
                [] if every is None else [verify.Guard(every=every, watched="*", on_violation=len)]
            )
            size = len(x) // steps
            callbacks = [*guards, timed]
            model.fit(x, y, size, 2, verbose=0, shuffle=False, callbacks=callbacks)
            taken[way].append(timed.seconds[1] / steps * 1e3)  # the first of them traces
    return {way: statistics.median(values) for way, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("milliseconds a step: medians, of epochs in turns; over plain")
    for name, make, steps, at_once in (
        ("7-3-2-1 dense, one step at a time", dense, 2000, 1),
        ("7-3-2-1 dense, 100 steps at once", dense, 2000, 100),
        ("convolutions for digits", digits, 200, 1),
        ("ResNet50 of 64 x 64 pixels", resnet, 10, 1),
    ):
        found = compare(make, steps, at_once, options.rounds)
        told = ", ".join(
            f"{way} {value:.3f} ({value / found['plain']:.3f})" for way, value in found.items()
        )
        print(f"  {name:<36} {told}", flush=True)


if __name__ == "__main__":
    main()
