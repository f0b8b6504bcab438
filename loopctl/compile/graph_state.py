"""Our own variables in the graph: control variables, epoch means, moving statistics' state."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from loopctl.compile.graph_counters import Progress
from loopctl.compile.selection import statistics_of
from loopctl.config import ControlPlan


class EpochMean:
    """Running mean of a loss over the steps of an epoch in which it was computed.

    Before the first such step the mean is NaN, so that an idle action never looks like a perfect
    one.
    """

    def __init__(self, name: str) -> None:
        self.sums = _variable([0.0, 0.0], f"{name}_loss_total_and_samples")

    def update(self, loss: Any, samples: Any, ran: Any = True) -> Any:
        """Counts the loss of a step, scalar float32, if it `ran`, and returns it."""
        if ran is not True:
            loss, samples = (tf.where(ran, value, 0.0) for value in (loss, samples))
        self.sums.assign_add(tf.stack([loss * samples, samples]))
        return loss

    def result(self) -> Any:
        """Scalar float32 tensor."""
        total, samples = tf.unstack(self.sums)
        return total / samples

    @property
    def seen(self) -> bool:
        """Whether there is anything to take the mean of; asked on the host."""
        return bool(self.sums[1] > 0)

    def reset(self) -> None:
        self.sums.assign([0.0, 0.0])


class Statistics:
    """Moving statistics of a model, which move once per train step, not once per substep.

    Attributes:
        moved: whether they have moved in this step, where only the graph can tell.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.variables = statistics_of(model)
        self.moved = _variable(False, "statistics_moved")
        kept = {id(variable) for variable in self.variables}
        self._others = [v for v in model.non_trainable_variables if id(v) not in kept]

    def weights(self) -> list[tuple[Any, Any]]:
        """What a StatelessScope has to be told for regularisers to work in it."""
        return [(variable, variable.value) for variable in self.model.trainable_variables]

    def settle(self, scope: Any) -> None:
        """Writes what a forward pass in `scope` changed, apart from statistics."""
        for variable in self._others:
            value = scope.get_current_value(variable)
            if value is not None:
                variable.assign(value)

    def settle_once(self, scope: Any) -> None:
        """The same, and the statistics if they have not moved in this train step."""
        self.settle(scope)
        for variable in self.variables:
            value = scope.get_current_value(variable)
            if value is not None:
                variable.assign(tf.where(self.moved, variable.value, value))


class GraphState:
    """Everything of a controlled model that lives in variables of our own.

    They are read and written between replicas only, hence no strategy's business.
    """

    def __init__(self, plan: ControlPlan, model: keras.Model) -> None:
        self.controls = {action.name: _variable(False, action.name) for action in plan.actions}
        self.means = {action.name: EpochMean(action.name) for action in plan.actions}
        if len(plan.reporting) > 1:  # no action can have that name
            self.means["loss"] = EpochMean("loss")
        self.loss = self.means["loss" if len(plan.reporting) > 1 else plan.actions[0].name]
        self.statistics = Statistics(model)
        self.progress = Progress(plan.predicates)

    def reset_epoch(self) -> None:
        for mean in self.means.values():
            mean.reset()


def _variable(value: Any, name: str) -> Any:
    return tf.Variable(value, trainable=False, name=name)


def count_samples(strategy: Any, data: Any) -> Any:
    """Samples in a global batch, scalar float32 (summed over replicas)."""
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    leaf = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
    if strategy.num_replicas_in_sync == 1:
        return _rows(leaf)
    return strategy.reduce("SUM", strategy.run(_rows, args=(leaf,)), axis=None)


def _rows(part: Any) -> Any:
    """Scalar float32, of a dense, ragged or sparse tensor."""
    if isinstance(part, tf.SparseTensor):
        return tf.cast(part.dense_shape[0], tf.float32)
    rows = part.nrows() if isinstance(part, tf.RaggedTensor) else tf.shape(part)[0]
    return tf.cast(rows, tf.float32)
