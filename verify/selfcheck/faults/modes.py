"""Faults in the mode in which layers run."""

from __future__ import annotations

from typing import Any

import keras

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import Sample
from verify.selfcheck.training import Training


class Drops(Training):
    """Drops some of what the model predicts, as it trains."""

    mode = True

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        drop = keras.layers.Dropout(0.3, name="drop")
        self.model = keras.Sequential([keras.Input(sample.x.shape[1:]), sample.model, drop])

    def expected(self) -> dict[str, Any]:
        return {**super().expected(), "training": {"drop": self.mode}}


@planted("training", "expected drop in training mode")
class CalledWithoutAMode(Drops):
    """A model that is called without training=True: dropout does nothing."""

    def predict(self, x: Any) -> Any:
        return self.model(x)


class DropsNothing(Drops):
    """Fine-tunes a model as it infers: without dropout."""

    mode = False

    def predict(self, x: Any) -> Any:
        return self.model(x, training=False)


@planted("training", "expected drop in inference mode")
class DropsAllTheSame(DropsNothing):
    """Dropout in a model that is fine-tuned as it infers."""

    def predict(self, x: Any) -> Any:
        return self.model(x, training=True)
