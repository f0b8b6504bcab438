"""A trained network is tuned to few samples of another task, slower the deeper."""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback, presets


def task(count: int, shift: float, seed: int) -> tuple[Any, Any]:
    """Samples (count, 6) around `shift`, and a number of each, (count, 1)."""
    x = np.random.default_rng(seed).normal(shift, 1, (count, 6)).astype("float32")
    return x, np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3] + shift


def pretrained() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(32, name="deep"),
        keras.layers.BatchNormalization(name="normalization"),
        keras.layers.ReLU(),
        keras.layers.Dense(16, "relu", name="middle"),
        keras.layers.Dense(1, name="head"),
    ]
    model = keras.Sequential([keras.Input((6,)), *layers], name="net")
    model.compile(keras.optimizers.Adam(0.01), "mse", steps_per_execution=8)
    model.fit(*task(2048, 0.0, 1), batch_size=64, epochs=20, verbose=0)
    return model


def train(epochs: int) -> tuple[keras.Model, LoopControllerCallback]:
    model = pretrained()
    model.compile(keras.optimizers.Adam(0.02), "mse", steps_per_execution=8)
    config = presets.discriminative_fine_tuning(
        {"*/deep/*": 0.01, "*/normalization/*": 0.01, "*/middle/*": 0.1},
        head="*/head/*",
        head_epochs=2,
    )
    control = LoopControllerCallback(config)
    few = task(128, 0.5, 2)
    model.fit(*few, batch_size=16, epochs=epochs, verbose=0, callbacks=[control])
    return model, control


def error(model: keras.Model) -> float:
    """On new samples of the task that it is tuned to."""
    x, y = task(1024, 0.5, 3)
    return float(np.mean((np.asarray(model(x)) - y) ** 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    before, (model, control) = pretrained(), train(parser.parse_args().epochs)
    print(f"error before: {error(before):.3f}, after: {error(model):.3f}")
    for old, new in zip(before.trainable_variables, model.trainable_variables, strict=True):
        print(f"{new.path} moved by {np.abs(old.numpy() - new.numpy()).mean():.4f}")
    control.summary()


if __name__ == "__main__":
    main()
