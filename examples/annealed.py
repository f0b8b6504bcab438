"""A variational autoencoder of a ring, whose divergence counts for more and more."""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from examples.gan import BATCH, RADIUS, ring
from loopctl import LoopControllerCallback, presets

OVER = 1000  # train steps


class VAE(keras.Model):
    """Points (batch, 2) -> points (batch, 2), by a code of two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = keras.random.SeedGenerator(5)
        dense = keras.layers.Dense
        self.encoder = keras.Sequential([keras.Input((2,)), dense(64, "relu"), dense(4)])
        self.decoder = keras.Sequential(
            [keras.Input((2,)), dense(64, "relu"), dense(64, "relu"), dense(2)]
        )


def bound(model: Any, data: Any) -> Any:
    """What is lost of the points, and how far codes are from normal ones."""
    mean, spread = keras.ops.split(model.encoder(data), 2, axis=-1)
    noise = keras.random.normal(keras.ops.shape(mean), seed=model.seed)
    found = model.decoder(mean + keras.ops.exp(spread) * noise)
    lost = keras.ops.sum(keras.ops.square(found - data), axis=-1) / (2 * 0.1**2)
    far = keras.ops.exp(2 * spread) + keras.ops.square(mean) - 1 - 2 * spread
    return {"lost": keras.ops.mean(lost), "kl": keras.ops.mean(keras.ops.sum(far, axis=-1)) / 2}


def train(epochs: int) -> tuple[VAE, LoopControllerCallback]:
    keras.utils.set_random_seed(0)
    model = VAE()
    model.compile(keras.optimizers.Adam(2e-3), steps_per_execution=16)
    control = LoopControllerCallback(presets.kl_annealing(bound, OVER))
    model.fit(ring(64 * BATCH), batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[control])
    return model, control


def sample(model: VAE, count: int) -> Any:
    """Points from normal codes, (count, 2)."""
    return np.asarray(model.decoder(np.random.default_rng(0).normal(size=(count, 2))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    model, control = train(parser.parse_args().epochs)
    radius = np.linalg.norm(sample(model, 2000), axis=1)
    print(f"radius of new points: {radius.mean():.2f} ± {radius.std():.2f}, real: {RADIUS}")
    print(f"divergence at the end: {control.history[-1]['annealed_kl']:.2f}")


if __name__ == "__main__":
    main()
