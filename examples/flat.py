"""A classifier is trained to a flat minimum, where nearby weights are as good (SAM)."""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback, presets

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


def sharpness(model: keras.Model, radius: float = 0.5) -> float:
    """By how much the loss rises, at most, in twenty random directions of that length."""
    x, y = data()
    kept = model.get_weights()
    here, rises = float(model.evaluate(x, y, verbose=0)), []
    generator = np.random.default_rng(0)
    for _ in range(20):
        step = [generator.normal(size=w.shape) for w in kept]
        size = np.sqrt(sum(np.sum(part**2) for part in step))
        model.set_weights([w + radius * part / size for w, part in zip(kept, step, strict=True)])
        rises.append(float(model.evaluate(x, y, verbose=0)) - here)
    model.set_weights(kept)
    return max(rises)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    epochs = parser.parse_args().epochs
    for radius in (None, RADIUS):
        model = train(epochs, radius)
        print(f"radius {radius}: the loss rises by {sharpness(model):.3f} nearby")


if __name__ == "__main__":
    main()
