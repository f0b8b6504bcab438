"""Gradients of several train steps of a branch, for one update by their mean."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tensorflow as tf


class Accumulation:
    """Sums of gradients, one for each variable that a branch trains.

    Made in the scope of the model's strategy. Each replica keeps its own sums, of its part of the
    gradients: they are added up once for each update.

    Args:
        steps: whose gradients are averaged.
        weights: which the branch trains.
    """

    def __init__(self, steps: int, weights: list[Any]) -> None:
        self.steps, self.weights = steps, weights
        each = tf.VariableSynchronization.ON_READ
        self.sums = [
            tf.Variable(
                tf.zeros(weight.shape, weight.dtype),
                trainable=False,
                synchronization=each,
                # What is saved is the same for all, and adds up to the same again. (Sums can't be
                # added to between replicas, where a substep is traced to be looked at.)
                aggregation=tf.VariableAggregation.MEAN,
                name="accumulated",
            )
            for weight in weights
        ]
        self.seen = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            synchronization=each,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            name="accumulated_steps",
        )

    def add(self, gradients: list[Any], reached: list[int]) -> Any:
        """Adds the gradients of the weights at places `reached`; whether an update is due."""
        for place, gradient in zip(reached, gradients, strict=True):
            self.sums[place].assign_add(gradient)
        return self.seen.assign_add(1) >= self.steps

    def mean(self, reached: list[int]) -> list[Any]:
        """What was added up in `steps` steps, by their number."""
        return [self.sums[place].read_value() / self.steps for place in reached]

    def clear(self) -> None:
        """Begins anew, in a replica or between replicas."""
        for total in self.sums:
            total.assign(tf.zeros(total.shape, total.dtype))
        self.seen.assign(tf.zeros((), tf.int64))

    @property
    def variables(self) -> list[Any]:
        return [*self.sums, self.seen]

    def forget(self, weights: Collection[int]) -> None:
        """Drops what was added up for weights with these ids."""
        for weight, total in zip(self.weights, self.sums, strict=True):
            if id(weight) in weights:
                total.assign(tf.zeros(total.shape, total.dtype))
