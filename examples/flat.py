"""A classifier is trained to a flat minimum, where nearby weights are as good (SAM)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from examples import figures
from loopctl import LoopControllerCallback, presets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADIUS = 0.1


def data(count: int = 256) -> tuple[Any, Any]:
    """Points of two noisy half circles, (count, 2), and which, (count, 1)."""
    generator = np.random.default_rng(3)
    labels = np.arange(count) % 2
    angle = generator.uniform(0, np.pi, count)
    arcs = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.where(labels[:, None] == 1, [1, 0.5] - arcs, arcs)
    return (points + generator.normal(0, 0.2, points.shape)).astype("float32"), labels[:, None]


def train(epochs: int, radius: float | None = RADIUS) -> keras.Model:
    """A classifier of these; plainly trained if there is no radius."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(32, "relu"), keras.layers.Dense(32, "relu")]
    model = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, steps_per_execution=8)
    control = LoopControllerCallback(presets.sharpness_aware(radius)) if radius else None
    x, y = data()
    callbacks = [control] if control else []
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks)
    return model


def nearby(model: keras.Model, radii: Any, directions: int = 20) -> Any:
    """The loss so far away in random directions, (directions, radii)."""
    x, y = data()
    kept, found = model.get_weights(), []
    generator = np.random.default_rng(0)
    for _ in range(directions):
        step = [generator.normal(size=w.shape) for w in kept]
        size = np.sqrt(sum(np.sum(part**2) for part in step))
        for radius in radii:
            moved = [w + radius * part / size for w, part in zip(kept, step, strict=True)]
            model.set_weights(moved)
            found.append(float(model.loss(y, model(x))))
    model.set_weights(kept)
    return np.reshape(found, (directions, -1))


def sharpness(model: keras.Model, radius: float = 0.5) -> float:
    """By how much the loss rises, at most, in twenty random directions of that length."""
    here, there = nearby(model, (0.0, radius)).T
    return float(np.max(there - here))


def draw(models: dict[str, keras.Model]) -> Figure:
    """By how much losses rise around weights, by name: the mean over directions, and the range."""
    figure, (axes,) = figures.panels("rise of the loss along random directions", height=3.2)
    figure.set_size_inches(4.6, 3.2)
    radii = np.linspace(-1, 1, 21)
    losses = {name: nearby(model, radii) for name, model in models.items()}
    found = {name: loss - loss[:, len(radii) // 2, None] for name, loss in losses.items()}
    series = {name: (radii, rises.mean(0)) for name, rises in found.items()}
    figures.lines(axes, "distance from the weights", "loss there - loss here", series)
    for rises, color in zip(found.values(), figures.COLORS, strict=False):
        axes.fill_between(radii, rises.min(0), rises.max(0), color=color, alpha=0.2, linewidth=0)
    axes.legend(fontsize=8, loc="upper center")
    return figure


def picture(epochs: int = 60) -> Figure:
    return draw({"plain": train(epochs, None), "SAM": train(epochs)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    epochs = parser.parse_args().epochs
    for radius in (None, RADIUS):
        model = train(epochs, radius)
        print(f"radius {radius}: the loss rises by {sharpness(model):.3f} nearby")


if __name__ == "__main__":
    main()
