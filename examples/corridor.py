"""What a walk along a corridor is worth is learned from random steps (double DQN)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from examples import figures
from loopctl import LoopControllerCallback, presets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def train(epochs: int, *callbacks: Any) -> tuple[Walker, LoopControllerCallback]:
    keras.utils.set_random_seed(0)
    model = Walker()
    model.compile(keras.optimizers.Adam(3e-3), steps_per_execution=16)
    control = LoopControllerCallback(presets.deep_q(discount=DISCOUNT, decay=0.95))
    model.fit(walks(), batch_size=64, epochs=epochs, verbose=0, callbacks=[control, *callbacks])
    return model, control


def values(model: Walker) -> Any:
    """Of each cell but the last, of going left and right: (cells, 2)."""
    return np.asarray(model.online(np.eye(CELLS, dtype="float32")[:-1]))


def worth() -> Any:
    """Of each cell but the last, of the best way: (cells,)."""
    return DISCOUNT ** np.arange(CELLS - 2, -1, -1)


def returns(model: Walker) -> float:
    """Mean discounted reward from each cell, of a walk that does what is worth most."""
    best, total = np.argmax(values(model), axis=1), 0.0
    for cell in range(CELLS - 1):
        for step in range(2 * CELLS):
            cell = max(cell + 2 * int(best[cell]) - 1, 0)
            if cell == CELLS - 1:
                total += DISCOUNT**step
                break
    return total / (CELLS - 1)


class Learned(keras.callbacks.Callback):
    """What walks bring and going right is worth, before the training and after each execution."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.returns, self.right = list[float](), list[Any]()
        self.on_train_batch_end(0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.returns.append(returns(self.model))
        self.right.append(values(self.model)[:, 1])


def draw(model: Walker, learned: Learned) -> Figure:
    titles = ("mean return of greedy walks", "worth of going right", "worth of actions, at the end")
    figure, (curve, rising, cells) = figures.panels(*titles)
    steps = 16 * np.arange(len(learned.returns))
    few, more = steps <= 320, steps <= 640
    best = np.full(len(steps), worth().mean())
    series = {"learned": learned.returns, "best": best}
    shown = {name: (steps[few], np.asarray(y)[few]) for name, y in series.items()}
    figures.lines(curve, "train step", "", shown)
    curve.set_ylim(bottom=0)
    right = np.asarray(learned.right)
    shown = {f"from cell {cell}": (steps[more], right[more, cell]) for cell in (6, 4, 2, 0)}
    figures.lines(rising, "train step", "", shown)
    for cell, color in zip((6, 4, 2, 0), figures.COLORS, strict=True):
        rising.axhline(worth()[cell], color=color, linestyle=":", linewidth=1)
    place, found = np.arange(CELLS - 1), values(model)
    shown = {"right": (place, found[:, 1]), "left": (place, found[:, 0])}
    figures.lines(cells, "cell (the reward is right of the last)", "", shown)
    cells.plot(place, worth(), "k.", label="best way")
    cells.legend(fontsize=8)
    return figure


def picture(epochs: int = 30) -> Figure:
    learned = Learned()
    model, _ = train(epochs, learned)
    return draw(model, learned)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    model, _ = train(parser.parse_args().epochs)
    print(values(model).round(3))
    print("worth:", worth().round(3))


if __name__ == "__main__":
    main()
