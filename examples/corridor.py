"""What a walk along a corridor is worth is learned from random steps (double DQN)."""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback, presets

CELLS, DISCOUNT = 8, 0.9


class Walker(keras.Model):
    """Values of going left and right, by a network that learns and one that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.target = network("online"), network("target")
        self.target.set_weights(self.online.get_weights())
        self.target.trainable = False


def network(name: str) -> keras.Model:
    layers = [keras.layers.Dense(32, "relu"), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((CELLS,)), *layers], name=name)


def walks(count: int = 4096) -> dict[str, Any]:
    """Random steps; at the right end is a reward, and the end of the walk."""
    generator = np.random.default_rng(0)
    cell, action = generator.integers(0, CELLS - 1, count), generator.integers(0, 2, count)
    after = np.clip(cell + 2 * action - 1, 0, CELLS - 1)
    done = (after == CELLS - 1).astype("float32")
    states = np.eye(CELLS, dtype="float32")
    return {
        "state": states[cell],
        "action": action,
        "reward": done,
        "next_state": states[after],
        "done": done,
    }


def train(epochs: int) -> tuple[Walker, LoopControllerCallback]:
    keras.utils.set_random_seed(0)
    model = Walker()
    model.compile(keras.optimizers.Adam(3e-3), steps_per_execution=16)
    control = LoopControllerCallback(presets.deep_q(discount=DISCOUNT, decay=0.95))
    model.fit(walks(), batch_size=64, epochs=epochs, verbose=0, callbacks=[control])
    return model, control


def values(model: Walker) -> Any:
    """Of each cell but the last, of going left and right: (cells, 2)."""
    return np.asarray(model.online(np.eye(CELLS, dtype="float32")[:-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    model, _ = train(parser.parse_args().epochs)
    print(values(model).round(3))
    print("worth:", (DISCOUNT ** np.arange(CELLS - 2, -1, -1)).round(3))


if __name__ == "__main__":
    main()
