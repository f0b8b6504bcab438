"""Means of losses over the steps of an epoch, in variables of our own."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class EpochMean:
    """Running mean of a loss over the steps of an epoch in which it was computed.

    Before the first such step the mean is NaN, so that an idle action never looks like a perfect
    one.
    """

    def __init__(self, name: str) -> None:
        self.sums = tf.Variable([0.0, 0.0], trainable=False, name=f"{name}_loss_total_and_samples")
        self._seen = False  # as far as the host has asked

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
        # A read of a variable costs as much as a small step: it is not asked again in an epoch.
        self._seen = self._seen or bool(self.sums[1] > 0)
        return self._seen

    def reset(self) -> None:
        self.sums.assign([0.0, 0.0])
        self._seen = False
