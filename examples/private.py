"""A classifier is trained such that no single example decides much (DP-SGD)."""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback, presets

CLIP, NOISE = 1.0, 1.0


def data(count: int = 2048) -> tuple[Any, Any]:
    """Points on two sides of a line, (count, 4), and which side, (count, 1); one in 50 is far out
    on the wrong side."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(count, 4))
    y = (x @ [1.0, -1.0, 0.5, 0.0] > 0).astype("float32")
    x[::50] *= -100
    return x.astype("float32"), y[:, None]


def train(epochs: int, *, private: bool = True) -> tuple[keras.Model, float]:
    """A linear classifier, and its accuracy on what is not far out."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, steps_per_execution=8)
    config = presets.private(CLIP, NOISE)
    callbacks = [LoopControllerCallback(config)] if private else []
    x, y = data()
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=0, callbacks=callbacks)
    usual = np.arange(len(x)) % 50 != 0
    told = np.asarray(model(x[usual])) > 0
    return model, float(np.mean(told == (y[usual] > 0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs
    for private in (False, True):
        _, accuracy = train(epochs, private=private)
        print(f"{'private' if private else 'plain'}: {accuracy:.3f} are told right")


if __name__ == "__main__":
    main()
