"""A pretrained stack is fine-tuned from its head downwards, one layer more every other epoch."""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback, presets

GROUPS = ["*/head/*", "*/upper/*", "*/lower/*"]


def data(shift: float, count: int = 1024) -> tuple[Any, Any]:
    """Inputs (count, 8) and targets (count, 1); `shift` tells the first task from the second."""
    x = np.random.default_rng(3).normal(size=(count, 8)).astype("float32")
    return x, np.sin(x[:, :4].sum(axis=1, keepdims=True) + shift) + shift * x[:, 4:5]


def pretrained() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(32, "tanh", name="lower"),
            keras.layers.Dense(32, "tanh", name="upper"),
            keras.layers.Dense(1, name="head"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "mse", steps_per_execution=8)
    model.fit(*data(0.0), epochs=15, verbose=0)
    return model


def train(epochs: int) -> tuple[keras.Model, LoopControllerCallback]:
    model = pretrained()
    control = LoopControllerCallback(presets.gradual_unfreezing(GROUPS, epochs=epochs))
    model.compile(keras.optimizers.Adam(5e-3), "mse", steps_per_execution=8)
    model.fit(*data(0.5), epochs=3 * epochs, verbose=0, callbacks=[control])
    return model, control


def losses(control: LoopControllerCallback, epochs: int) -> Any:
    """Mean losses by stage and epoch, (3, epochs): in each step one of the actions has run."""
    columns = [control.history.column(f"loss_stage_{i + 1}") for i in range(len(GROUPS))]
    return np.nansum(columns, axis=0).reshape(len(GROUPS), epochs, -1).mean(axis=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10, help="per stage")
    epochs = parser.parse_args().epochs
    _, control = train(epochs)
    for group, loss in zip(GROUPS, losses(control, epochs)[:, -1], strict=True):
        print(f"loss at the end of the stage that unfroze {group:<9} {loss:.4f}")
    control.summary()


if __name__ == "__main__":
    main()
