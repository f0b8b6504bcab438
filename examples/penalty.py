"""A generative adversarial network on a ring, whose critic has a gradient penalty (WGAN-GP)."""

from __future__ import annotations

import argparse

import keras
import numpy as np

from examples.gan import BATCH, GAN, RADIUS, ring
from loopctl import LoopControllerCallback, presets


def train(epochs: int) -> tuple[GAN, LoopControllerCallback]:
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
    model.fit(x, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[control])
    return model, control


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    model, control = train(parser.parse_args().epochs)
    radius = np.linalg.norm(np.asarray(model.sample(2000)), axis=1)
    print(f"radius of generated points: {radius.mean():.2f} ± {radius.std():.2f}, real: {RADIUS}")
    control.summary()


if __name__ == "__main__":
    main()
