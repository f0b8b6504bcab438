"""State in the graph: control variables and the epoch means of the actions' losses."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from loopctl.plan import ControlPlan


class EpochMean:
    """Running mean of one action's loss over the steps of an epoch in which it ran.

    Before the first such step the mean is NaN, so that an idle action never looks like a perfect
    one.
    """

    def __init__(self, name: str, strategy: Any) -> None:
        self._strategy = strategy
        self._total = _variable(0.0, f"{name}_loss_total")
        self._samples = _variable(0.0, f"{name}_loss_samples")

    def update(self, loss: Any, samples: Any) -> Any:
        """Counts the loss of a step, given per replica, and returns it for the global batch."""
        # Keras' losses divide by the global batch size, so that replicas' losses are summands.
        whole = tf.cast(self._strategy.reduce("SUM", loss, axis=None), tf.float32)
        self._total.assign_add(whole * samples)
        self._samples.assign_add(samples)
        return whole

    def result(self) -> Any:
        """Scalar float32 tensor."""
        return self._total / self._samples

    def reset(self) -> None:
        self._total.assign(0.0)
        self._samples.assign(0.0)


class GraphState:
    """Everything of a controlled model that lives in variables of our own."""

    def __init__(self, plan: ControlPlan, strategy: Any) -> None:
        with strategy.scope():
            self.controls = {a.name: _variable(False, a.name) for a in plan.actions}
            self.means = {a.name: EpochMean(a.name, strategy) for a in plan.actions}

    def reset_epoch(self) -> None:
        for mean in self.means.values():
            mean.reset()


def _variable(value: bool | float, name: str) -> Any:
    return tf.Variable(
        value, trainable=False, name=name, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
    )


def count_samples(data: Any) -> Any:
    """Samples in a global batch, scalar float32 (summed over replicas)."""
    leaf = next(leaf for leaf in tf.nest.flatten(keras.utils.unpack_x_y_sample_weight(data)[0]))
    strategy = tf.distribute.get_strategy()
    local = [tf.shape(part)[0] for part in strategy.experimental_local_results(leaf)]
    return tf.cast(tf.add_n(local), tf.float32)
