"""Faults in how random numbers are drawn."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import Sample
from verify.selfcheck.training import Training


class AddsNoise(Training):
    """Adds noise to what the model sees."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.generator = keras.random.SeedGenerator(11)

    def expected(self) -> dict[str, Any]:
        return {**super().expected(), "draws": "fresh"}

    def noise(self, shape: tuple[int, ...]) -> Any:
        return keras.random.normal(shape, seed=self.generator)

    def predict(self, x: Any) -> Any:
        return super().predict(x + 0.01 * self.noise(tuple(x.shape)))


@planted("draws", "draws from a constant seed")
class TheSameNoise(AddsNoise):
    """Noise of a constant seed: the same in every step."""

    def noise(self, shape: tuple[int, ...]) -> Any:
        return keras.random.normal(shape, seed=11)


@planted("draws", "it was made while tracing")
class NoiseOfOneTrace(AddsNoise):
    """Noise that NumPy draws while the step is traced."""

    def noise(self, shape: tuple[int, ...]) -> Any:
        return np.random.default_rng().normal(size=shape).astype("float32")
