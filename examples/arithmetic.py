"""An iNALU layer learns to multiply, weights and gates in turns, its regulariser delayed."""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from inalu.layers import NALU
from loopctl import LoopControllerCallback, presets


def data(low: float, high: float, count: int = 6400) -> tuple[Any, Any]:
    x = np.random.default_rng(2).uniform(low, high, (count, 2)).astype("float32")
    return x, x[:, :1] * x[:, 1:]


def train(epochs: int) -> tuple[keras.Model, LoopControllerCallback]:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), NALU(1, clipping=20)])
    model.compile(keras.optimizers.RMSprop(0.01), "mse", metrics=["mse"], steps_per_execution=100)
    control = LoopControllerCallback(presets.inalu(delay=2))
    model.fit(*data(-3, 3), batch_size=64, epochs=epochs, verbose=0, callbacks=[control])
    return model, control


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    model, control = train(parser.parse_args().epochs)
    for low, high in ((-3, 3), (10, 15)):
        _, error = model.evaluate(*data(low, high), verbose=0)
        print(f"mean squared error on [{low}, {high}]: {error:.1e}")
    control.summary()


if __name__ == "__main__":
    main()
