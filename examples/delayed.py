"""A regression is fitted first and made sparse afterwards: L1 once the loss is small."""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback, presets, when

COEFFICIENTS = np.array([2.0, -3.0, 0, 0, 0, 0, 0, 1.5], "float32")


def data(count: int = 2048) -> tuple[Any, Any]:
    generator = np.random.default_rng(5)
    x = generator.normal(size=(count, len(COEFFICIENTS))).astype("float32")
    noise = generator.normal(0, 0.3, (count, 1)).astype("float32")
    return x, x @ COEFFICIENTS[:, None] + noise


def train(epochs: int) -> tuple[keras.Model, LoopControllerCallback]:
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L1(0.05), name="dense")
    model = keras.Sequential([keras.Input((len(COEFFICIENTS),)), dense])
    model.compile(keras.optimizers.Adam(0.02), "mse", steps_per_execution=16)
    control = LoopControllerCallback(
        presets.delayed_regularization((when.epochs >= 2) & (when.loss.mean(50) < 0.5))
    )
    model.fit(*data(), batch_size=64, epochs=epochs, verbose=0, callbacks=[control])
    return model, control


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    model, control = train(parser.parse_args().epochs)
    print("real:   ", COEFFICIENTS)
    print("learned:", model.layers[0].kernel.numpy()[:, 0].round(3))
    print(f"regularised from step {int(control.history.column('regularized').argmax())} on")
    control.summary()


if __name__ == "__main__":
    main()
