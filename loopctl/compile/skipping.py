"""Updates that are left out because a gradient is not finite, and how many there were."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def all_finite(gradients: list[Any]) -> Any:
    """Whether no element of any gradient is NaN or infinite, scalar bool."""
    finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
    return tf.reduce_all(tf.stack(finite))


class Skipped:
    """How many updates of an action were left out.

    Made in the scope of the model's strategy; all replicas count the same.
    """

    def __init__(self) -> None:
        self.updates = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            name="skipped_updates",
        )

    def count(self, finite: Any) -> None:
        """Counts an update, in a replica, unless its gradients were all `finite`, scalar bool."""
        self.updates.assign_add(tf.cast(tf.logical_not(finite), tf.int64))
