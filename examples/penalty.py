"""A generative adversarial network on a ring, whose critic has a gradient penalty (WGAN-GP)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from examples import figures
from examples.gan import BATCH, GAN, RADIUS, ring
from loopctl import LoopControllerCallback, presets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = (1, 15, 60)  # after which epochs a picture has points


def train(epochs: int, *callbacks: Any) -> tuple[GAN, LoopControllerCallback]:
    keras.utils.set_random_seed(0)
    model, x = GAN(), ring(64 * BATCH)
    model.compile("adam", steps_per_execution=16)
    config = presets.adversarial_with_penalty(
        "generator",
        "discriminator",
        penalty=1.0,
        every=2,
        critic_optimizer=keras.optimizers.Adam(2e-3, beta_1=0.0, beta_2=0.9),
        generator_optimizer=keras.optimizers.Adam(1e-3, beta_1=0.0, beta_2=0.9),
    )
    control = LoopControllerCallback(config)
    model.fit(x, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[control, *callbacks])
    return model, control


class Samples(keras.callbacks.Callback):
    """What is generated after some epochs: (count, 2) by their numbers."""

    def __init__(self, epochs: Any) -> None:
        super().__init__()
        self.epochs, self.points = epochs, dict[int, Any]()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 in self.epochs:
            # Noise of its own: that of the model belongs to its training.
            noise = np.random.default_rng(0).normal(
                size=(600, *self.model.generator.input_shape[1:])
            )
            self.points[epoch + 1] = np.asarray(self.model.generator(noise.astype("float32")))


def draw(samples: Samples) -> Figure:
    titles = (f"after {n} epoch{'s' if n > 1 else ''}" for n in samples.points)
    figure, axes = figures.panels(*titles)
    for one, points in zip(axes, samples.points.values(), strict=True):
        figures.scatter(one, ring(600), color=figures.GREY, label="real")
        figures.scatter(one, points, color=figures.BLUE, label="generated")
        one.set(xlim=(-3, 3), ylim=(-3, 3))
    axes[-1].legend(fontsize=8, markerscale=3, loc="center")
    return figure


def picture(epochs: int = SHOWN[-1]) -> Figure:
    samples = Samples(SHOWN)
    train(epochs, samples)
    return draw(samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    model, control = train(parser.parse_args().epochs)
    radius = np.linalg.norm(np.asarray(model.sample(2000)), axis=1)
    print(f"radius of generated points: {radius.mean():.2f} ± {radius.std():.2f}, real: {RADIUS}")
    control.summary()


if __name__ == "__main__":
    main()
