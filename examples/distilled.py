"""A small network learns from a large one what few labels do not tell."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from examples import figures
from loopctl import LoopControllerCallback, presets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = 3


class Pair(keras.Model):
    """Points (batch, 2) -> logits (batch, 3) of the student."""

    def __init__(self) -> None:
        super().__init__()
        self.student = network(16, "student")
        self.teacher = network(64, "teacher")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.student(x, training=training)


def network(units: int, name: str) -> keras.Model:
    hidden = [keras.layers.Dense(units, "relu") for _ in range(2)]
    return keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(CLASSES)], name=name)


def spirals(count: int, seed: int = 0) -> tuple[Any, Any]:
    """Points on three arms of a spiral, (count, 2), and on which, (count,)."""
    generator = np.random.default_rng(seed)
    arm = np.arange(count) % CLASSES
    way = np.sqrt(generator.uniform(0.02, 1, count))
    angle = 4 * way + 2 * np.pi * arm / CLASSES + generator.normal(0, 0.15, count)
    points = 2 * way[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points.astype("float32"), arm


def train(epochs: int, soft: float = 0.9) -> tuple[Pair, LoopControllerCallback]:
    """A student of a teacher that knows; most labels that it is given are drawn at random."""
    keras.utils.set_random_seed(0)
    model = Pair()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.teacher.compile(keras.optimizers.Adam(0.01), loss, steps_per_execution=16)
    model.teacher.fit(*spirals(2048), batch_size=64, epochs=15, verbose=0)
    model.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"], steps_per_execution=16)
    control = LoopControllerCallback(presets.distillation(soft=soft))
    x, y = spirals(1024, seed=1)
    generator = np.random.default_rng(2)
    y = np.where(generator.uniform(size=y.shape) < 0.9, generator.integers(0, CLASSES, y.shape), y)
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0, callbacks=[control])
    return model, control


def accuracy(network: keras.Model) -> float:
    x, y = spirals(1024, seed=3)
    return float(np.mean(np.argmax(network(x), axis=-1) == y))


def draw(alone: Pair, taught: Pair) -> Figure:
    """What each network tells of the plane, and new samples."""
    networks = {
        "the teacher": taught.teacher,
        "a student of labels": alone.student,
        "a student of both": taught.student,
    }
    figure, axes = figures.panels(*(f"{k}: {accuracy(n):.0%} right" for k, n in networks.items()))
    side = np.linspace(-2.4, 2.4, 97)
    plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    x, y = spirals(450, seed=3)
    for one, network in zip(axes, networks.values(), strict=True):
        told = np.argmax(network(plane), axis=-1).reshape(len(side), -1)
        figures.regions(one, side, told)
        for i, color in enumerate(figures.COLORS[:CLASSES]):
            figures.scatter(one, x[y == i], color=color, markersize=3)
        one.set(xticks=[], yticks=[])
    return figure


def picture(epochs: int = 30) -> Figure:
    return draw(train(epochs, soft=0.0)[0], train(epochs)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    epochs = parser.parse_args().epochs
    for soft in (0.0, 0.9):
        model, _ = train(epochs, soft)
        teacher, student = accuracy(model.teacher), accuracy(model.student)
        print(f"teacher {teacher:.3f}, who counts {soft}: student {student:.3f}")


if __name__ == "__main__":
    main()
