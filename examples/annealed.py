"""A variational autoencoder of a ring, whose divergence counts for more and more."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from examples import figures
from examples.gan import BATCH, RADIUS, ring
from loopctl import LoopControllerCallback, presets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def draw(model: VAE, control: LoopControllerCallback) -> Figure:
    titles = ("parts of the loss", "codes of real points", "points of new codes")
    figure, (curve, codes, points) = figures.panels(*titles)
    width = 16
    parts = {
        name: figures.smoothed(control.history.column(f"annealed_{name}"), width)
        for name in ("lost", "kl")
    }
    steps = width * np.arange(len(parts["kl"]))
    figures.lines(curve, "train step", "", {n: (steps, part) for n, part in parts.items()})
    curve.set_yscale("log")
    curve.axvline(OVER, color=figures.GREY, linestyle="--")
    curve.annotate(
        "kl counts once",
        (OVER, 0.97),
        xycoords=("data", "axes fraction"),
        fontsize=8,
        xytext=(3, 0),
        textcoords="offset points",
        va="top",
    )
    curve.legend(fontsize=8, loc="center right")
    real = ring(600)
    mean = np.asarray(model.encoder(real))[:, :2]
    normal = np.random.default_rng(0).normal(size=(600, 2))
    figures.scatter(codes, normal, color=figures.GREY, label="normal")
    figures.scatter(codes, mean, color=figures.BLUE, label="mean codes")
    codes.set(xlim=(-4, 4), ylim=(-4, 4))
    codes.legend(fontsize=8, markerscale=3, loc="upper right")
    figures.scatter(points, real, color=figures.GREY, label="real")
    figures.scatter(points, sample(model, 600), color=figures.BLUE, label="new")
    points.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4))
    points.legend(fontsize=8, markerscale=3, loc="upper right")
    return figure


def picture(epochs: int = 40) -> Figure:
    return draw(*train(epochs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    model, control = train(parser.parse_args().epochs)
    radius = np.linalg.norm(sample(model, 2000), axis=1)
    print(f"radius of new points: {radius.mean():.2f} ± {radius.std():.2f}, real: {RADIUS}")
    print(f"divergence at the end: {control.history[-1]['annealed_kl']:.2f}")


if __name__ == "__main__":
    main()
