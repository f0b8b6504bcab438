"""A generative adversarial network on a ring in the plane, trained by ``model.fit``.

Generator and discriminator take turns, each with its own loss, variables and optimizer.
"""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback, presets

RADIUS, BATCH, NOISE = 2.0, 128, 4


class GAN(keras.Model):
    """Real points (batch, 2) -> logits (batch, 1) of them and of as many generated ones."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = keras.random.SeedGenerator(7)
        self.generator = keras.Sequential(
            [
                keras.Input((NOISE,)),
                keras.layers.Dense(32, "relu"),
                keras.layers.Dense(32, "relu"),
                keras.layers.Dense(2),
            ],
            name="generator",
        )
        self.discriminator = keras.Sequential(
            [
                keras.Input((2,)),
                keras.layers.Dense(64, "leaky_relu"),
                keras.layers.Dense(64, "leaky_relu"),
                keras.layers.Dense(1),
            ],
            name="discriminator",
        )

    def sample(self, count: Any) -> Any:
        """Generated points, (count, 2)."""
        return self.generator(keras.random.normal((count, NOISE), seed=self.seed))

    def call(self, real: Any) -> dict[str, Any]:
        fake = self.sample(keras.ops.shape(real)[0])
        return {"real": self.discriminator(real), "fake": self.discriminator(fake)}


def right(y_true: Any, logits: Any) -> Any:
    """What the discriminator wants: real is 1, fake is 0."""
    return keras.losses.binary_crossentropy(y_true, logits, from_logits=True)


def fooled(y_true: Any, logits: Any) -> Any:
    """What the generator wants: that its points look real."""
    return keras.losses.binary_crossentropy(1 - y_true, logits, from_logits=True)


def ring(count: int) -> Any:
    """Points near a circle, (count, 2)."""
    generator = np.random.default_rng(1)
    angle = generator.uniform(0, 2 * np.pi, count)
    points = RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (points + generator.normal(0, 0.05, (count, 2))).astype("float32")


def train(epochs: int) -> tuple[GAN, LoopControllerCallback]:
    keras.utils.set_random_seed(0)
    model, x = GAN(), ring(64 * BATCH)
    model(x[:1])
    model.compile("adam", {"real": right, "fake": right}, steps_per_execution=16)
    config = presets.alternating(
        {
            "discern": {
                "variables": "discriminator/*",
                "loss": {"real": right, "fake": right},
                "optimizer": keras.optimizers.Adam(2e-3, beta_1=0.5),
            },
            "imitate": {
                "variables": "generator/*",
                "loss": {"real": None, "fake": fooled},
                "optimizer": keras.optimizers.Adam(1e-3, beta_1=0.5),
            },
        }
    )
    control = LoopControllerCallback(config)
    y = {"real": np.ones((len(x), 1), "float32"), "fake": np.zeros((len(x), 1), "float32")}
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[control])
    return model, control


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    model, control = train(parser.parse_args().epochs)
    points = np.asarray(model.sample(2000))
    radius = np.linalg.norm(points, axis=1)
    print(f"radius of generated points: {radius.mean():.2f} ± {radius.std():.2f}, real: {RADIUS}")
    control.summary()


if __name__ == "__main__":
    main()
