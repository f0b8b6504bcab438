"""What a guard costs while training: `ci/bench guard [--rounds N]`.

Each model is trained in turns without a guard, with one that looks at every 100th step, and with
one that looks at every step, all in one run. Prints medians of milliseconds a step, and over the
plain one.
"""

from __future__ import annotations

import argparse
import functools
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import keras
import numpy as np

import verify

_WAYS: dict[str, int | None] = {"plain": None, "every=100": 100, "every=1": 1}
_MANY = 1000  # epochs
Clock = Callable[[], float]
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


class Turns(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Lets the epochs of several trainings take turns, and takes their times.

    So what is compared has run at the same time, and is traced once.
    """

    def __init__(self, place: int, batons: list[threading.Semaphore], clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.seconds: list[float] = []
        self._mine, self._next = batons[place], batons[(place + 1) % len(batons)]
        self._begun = 0.0

    def throughout(self, train: Callable[[], object]) -> None:
        """Trains; if that fails, the others' turns come nevertheless."""
        try:
            train()
        finally:
            for _ in range(_MANY):
                self._next.release()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._mine.acquire()
        self._begun = self._clock()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(self._clock() - self._begun)
        self._next.release()


def compare(
    make: Callable[[], Made], steps: int, at_once: int, rounds: int, clock: Clock
) -> dict[str, tuple[float, float]]:
    """By way, median milliseconds a step, and the median of what it takes over the plain one."""
    batons = [threading.Semaphore(int(place == 0)) for place in range(len(_WAYS))]
    turns = [Turns(place, batons, clock) for place in range(len(_WAYS))]
    with futures.ThreadPoolExecutor(len(_WAYS)) as pool:
        trained = []
        for every, turn in zip(_WAYS.values(), turns, strict=True):
            model, x, y = make()
            model.steps_per_execution = at_once
            guards = (
                [] if every is None else [verify.Guard(every=every, watched="*", on_violation=len)]
            )
            train = functools.partial(
                model.fit,
                np.concatenate([x] * steps),
                np.concatenate([y] * steps),
                batch_size=len(x),
                epochs=rounds + 1,  # the first of them traces
                verbose=0,
                shuffle=False,
                callbacks=[*guards, turn],
            )
            trained.append(pool.submit(turn.throughout, train))
        for one in trained:
            one.result()
    taken = np.asarray([one.seconds[1:] for one in turns]) / steps * 1e3
    found = zip(np.median(taken, 1), np.median(taken / taken[0], 1), strict=True)
    return dict(zip(_WAYS, [(float(ms), float(over)) for ms, over in found], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument(
        "--cpu", action="store_true", help="time of the processor: for a machine that others use"
    )
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    print("milliseconds a step, and over plain: medians, of epochs in turns")
    for name, make, steps, at_once in (
        ("7-3-2-1 dense, one step at a time", dense, 300, 1),
        ("7-3-2-1 dense, 100 steps at once", dense, 2000, 100),
        ("convolutions for digits", digits, 20, 1),
        ("ResNet50 of 64 x 64 pixels", resnet, 2, 1),
    ):
        if options.only not in name:
            continue
        found = compare(make, steps, at_once, options.rounds, clock)
        told = ", ".join(f"{way} {ms:.3f} ({over:.3f})" for way, (ms, over) in found.items())
        print(f"  {name:<36} {told}", flush=True)


if __name__ == "__main__":
    main()
