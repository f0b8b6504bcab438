"""Faults in what sample weights multiply."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.training import Training


class Weighted(Training):
    """Is handed a weight for each example."""

    @property
    def batch(self) -> tuple[tf.TensorSpec, ...]:
        return (*super().batch, tf.TensorSpec(self.sample.x.shape[:1]))

    def expected(self) -> dict[str, Any]:
        return {**super().expected(), "sample_weight": True}

    def step(self, x: Any, y: Any, weights: Any) -> Any:
        self.weights = weights
        return super().step(x, y)

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return self.sample.loss(y, prediction, sample_weight=self.weights)


@planted("sample_weight", "sample weights have no effect on")
class WeightsTheMetricAlone(Weighted):
    """Sample weights that a metric gets and the loss does not."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return self.sample.loss(y, prediction)

    def measure(self, y: Any, prediction: Any) -> None:
        error = tf.reduce_mean(tf.abs(y - prediction), axis=-1)
        self.metric.update_state(self.weights * error, tf.zeros_like(error))


@planted("sample_weight", "twice the weights make 4 times the gradients", also=("loss",))
class WeightsTwice(Weighted):
    """Sample weights that multiply the loss of an example twice."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return self.sample.loss(y, prediction, sample_weight=self.weights * self.weights)


@planted("sample_weight", "divided by their sum", also=("loss",))
class WeightedMean(Weighted):
    """A loss divided by the sum of the sample weights."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(y, prediction) / tf.reduce_mean(self.weights)


@planted(
    "sample_weight", "the weight of one example multiplies the loss of another", also=("loss",)
)
class WeightsOfOthers(Weighted):
    """Sample weights in another order than the examples."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return self.sample.loss(y, prediction, sample_weight=self.weights[::-1])
