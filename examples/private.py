"""A classifier is trained such that no single example decides much (DP-SGD)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from examples import figures
from loopctl import LoopControllerCallback, presets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLIP, NOISE = 1.0, 1.0


def data(count: int = 2048) -> tuple[Any, Any]:
    """Points on two sides of a line, (count, 4), and which side, (count, 1); one in 50 is far out
    on the wrong side."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(count, 4))
    y = (x @ [1.0, -1.0, 0.5, 0.0] > 0).astype("float32")
    x[::50] *= -100
    return x.astype("float32"), y[:, None]


def train(epochs: int, *others: Any, private: bool = True) -> tuple[keras.Model, float]:
    """A linear classifier, and its accuracy on what is not far out."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, steps_per_execution=8)
    config = presets.private(CLIP, NOISE)
    control = [LoopControllerCallback(config)] if private else []
    x, y = data()
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=0, callbacks=[*control, *others])
    return model, accuracy(model)


def accuracy(model: keras.Model) -> float:
    """On what is not far out."""
    x, y = data()
    usual = np.arange(len(x)) % 50 != 0
    told = np.asarray(model(x[usual])) > 0
    return float(np.mean(told == (y[usual] > 0)))


class Accuracies(keras.callbacks.Callback):
    """Before the training, and after every 8 train steps."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.found = [accuracy(self.model)]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.found.append(accuracy(self.model))


def draw(models: dict[str, keras.Model], accuracies: dict[str, list[float]]) -> Figure:
    """Of linear classifiers by name."""
    figure, (curve, plane) = figures.panels("accuracy on usual examples", "where they decide")
    series = {name: (8 * np.arange(len(found)), found) for name, found in accuracies.items()}
    figures.lines(curve, "train step", "share that is told right", series)
    curve.set_ylim(0, 1.03)
    x, y = data()
    for side, color in ((0, figures.GREY), (1, figures.GREEN)):
        figures.scatter(plane, x[y[:, 0] == side][:600, :2], color=color, label=f"class {side}")
    across = np.array([-5.0, 5.0])
    for (name, model), color in zip(models.items(), figures.COLORS, strict=False):
        (a, b, *_), bias = np.asarray(model.layers[0].kernel)[:, 0], model.layers[0].bias.numpy()[0]
        plane.plot(across, -(a * across + bias) / b, color=color, label=name, linewidth=1.4)
    plane.set(xlim=(-3, 4), ylim=(-4, 3))
    plane.set_xlabel("first number", fontsize=9)
    plane.set_ylabel("second", fontsize=9)
    plane.legend(fontsize=8, loc="lower right", markerscale=3)
    return figure


def picture(epochs: int = 10) -> Figure:
    models, found = {}, {}
    for name, private in (("plain", False), ("private", True)):
        told = Accuracies()
        models[name], _ = train(epochs, told, private=private)
        found[name] = told.found
    return draw(models, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs
    for private in (False, True):
        _, accuracy = train(epochs, private=private)
        print(f"{'private' if private else 'plain'}: {accuracy:.3f} are told right")


if __name__ == "__main__":
    main()
