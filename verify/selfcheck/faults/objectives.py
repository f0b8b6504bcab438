"""Faults in what is differentiated, told by a function of the same meaning."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.training import Gradients, Training


class Meant(Training):
    """All that is differentiated is asked for, as one function."""

    def expected(self) -> dict[str, Any]:
        return {"objective": self.meant}

    def meant(self, x: Any, y: Any) -> Any:
        loss = self.sample.loss(y, self.model(x, training=True))
        return loss + sum(regulariser(v.value) for v, regulariser in self.sample.regularised)


@planted("objective", "found +2 times that")
class Doubled(Meant):
    """All of the objective counts twice."""

    def total(self, y: Any, prediction: Any) -> Any:
        return 2.0 * super().total(y, prediction)


@planted("objective", "found +another gradient")
class HalfStopped(Meant):
    """Half of the data loss does not pass gradients on."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        loss = super().data_loss(y, prediction)
        return 0.5 * loss + 0.5 * tf.stop_gradient(loss)


@planted("objective", "found +another gradient")
class TermForgotten(Meant):
    """One regulariser is forgotten in what is differentiated."""

    def terms(self) -> list[Any]:
        return super().terms()[1:]


@planted("objective", "found +another gradient")
class OtherOrder(Meant):
    """Predictions of one example are compared with the target of another."""

    def predict(self, x: Any) -> Any:
        return super().predict(tf.reverse(x, [0]))


@planted("objective", "found +another gradient")
class Noisy(Meant):
    """Noise is added to what the model is called on."""

    def predict(self, x: Any) -> Any:
        return super().predict(x + 0.1 * tf.random.normal(tf.shape(x)))


@planted("objective", "found +-1 times that")
class Ascends(Meant):
    """Gradients are negated before they are applied."""

    def treat(self, gradients: Gradients) -> Gradients:
        return [-gradient for gradient in super().treat(gradients)]


@planted(
    "objective",
    "found +another gradient",
    but=("dense", "recurrent", "attention", "arithmetic"),  # nothing in them has another mode
)
class InInference(Meant):
    """The model is called as for inference."""

    def predict(self, x: Any) -> Any:
        return self.model(x, training=False)
