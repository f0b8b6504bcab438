"""Faults in what a loss judges, told by a function that computes the prediction."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import Sample
from verify.selfcheck.training import Training


class Predicts(Training):
    """The model is called on inputs that are normalised, of which some are dropped."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.drop = keras.layers.Dropout(0.3)

    def expected(self) -> dict[str, Any]:
        return {"forward": self.meant}

    def meant(self, x: Any, y: Any) -> Any:
        return self.model(self.drop((x - 0.5) / 2.0, training=True), training=True)

    def normalised(self, x: Any) -> Any:
        return (x - 0.5) / 2.0

    def dropped(self, x: Any) -> Any:
        return self.drop(x, training=True)

    def predict(self, x: Any) -> Any:
        return self.model(self.dropped(self.normalised(x)), training=True)


@planted("forward", "found +another prediction")
class NormalisesTwice(Predicts):
    """Inputs that are normalised twice."""

    def normalised(self, x: Any) -> Any:
        return super().normalised(super().normalised(x))


@planted("forward", "found +another prediction")
class DropsMore(Predicts):
    """Dropout of half of the inputs, not of three in ten."""

    def dropped(self, x: Any) -> Any:
        return keras.random.dropout(x, 0.5, seed=self.drop.seed_generator)


@planted("forward", "found +another prediction")
class DropsNothing(Predicts):
    """Dropout that is left out."""

    def dropped(self, x: Any) -> Any:
        return x


@planted(
    "forward",
    "found +another prediction",
    but=("dense", "recurrent", "attention", "arithmetic"),  # nothing else in them has another mode
)
class NormalisesAsInInference(Predicts):
    """The model called in inference mode, on inputs of which some are dropped."""

    def predict(self, x: Any) -> Any:
        return self.model(self.dropped(self.normalised(x)), training=False)


@planted("forward", "found +what is made of that afterwards")
class AnotherActivation(Predicts):
    """An activation that the model does not end in."""

    def predict(self, x: Any) -> Any:
        return tf.sigmoid(super().predict(x)) ** 2


@planted("forward", "cast to float16 afterwards")
class InHalfPrecision(Predicts):
    """A prediction in half precision."""

    def predict(self, x: Any) -> Any:
        return tf.cast(tf.cast(super().predict(x), tf.float16), tf.float32)


@planted("forward", "found +what is made of that afterwards")
class TwoModels(Predicts):
    """A prediction that is half another model's."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.other = keras.models.clone_model(self.model)

    def predict(self, x: Any) -> Any:
        return 0.5 * (super().predict(x) + self.other(x, training=True))
