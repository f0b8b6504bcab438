"""Our own variables in the graph: control variables, epoch means, moving statistics' state."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from loopctl.compile.epoch_means import EpochMean
from loopctl.compile.graph_counters import Progress
from loopctl.compile.parts import Parts
from loopctl.compile.selection import statistics_of
from loopctl.config import ConfigError, ControlPlan


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
        self.parts = Parts(plan)
        self.progress = Progress(plan.predicates)

    @property
    def within_epoch(self) -> dict[str, list[Any]]:
        """The variables in which an epoch is summed up and steps are counted, by name."""
        means = {f"means/{name}": [mean.sums] for name, mean in self.means.items()}
        return {**means, **self.parts.within_epoch, "progress": self.progress.variables}

    def reset_epoch(self) -> None:
        for mean in self.means.values():
            mean.reset()
        self.parts.reset_epoch()


def _variable(value: Any, name: str) -> Any:
    return tf.Variable(value, trainable=False, name=name)


def count_samples(strategy: Any, data: Any) -> Any:
    """Samples in a global batch, scalar float32 (summed over replicas)."""
    if strategy.num_replicas_in_sync == 1:
        return _samples(data)
    return strategy.reduce("SUM", strategy.run(_samples, args=(data,)), axis=None)


def _samples(data: Any) -> Any:
    """Scalar float32: the rows of the first part of a batch that has any, whatever its structure.

    Raises:
        ConfigError: there is none.
    """
    for part in keras.tree.flatten(data):
        if part is not None and part.shape.rank != 0:
            return _rows(part)
    raise ConfigError("no part of the batch has an axis of samples, over which losses are averaged")


def _rows(part: Any) -> Any:
    """Scalar float32, of a dense, ragged or sparse tensor."""
    if isinstance(part, tf.SparseTensor):
        return tf.cast(part.dense_shape[0], tf.float32)
    rows = part.nrows() if isinstance(part, tf.RaggedTensor) else tf.shape(part)[0]
    return tf.cast(rows, tf.float32)


def share_of_replica(data: Any) -> Any:
    """The share of a global batch that this replica's part of it is, scalar float32."""
    rows = _samples(data)
    return rows / tf.distribute.get_replica_context().all_reduce("SUM", rows)
