"""Faults in what else a step writes: what it should leave alone, statistics, averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import Sample
from verify.selfcheck.training import Gradients, Training

# -- what is left alone ----------------------------------------------------------------------------


class LeavesAlone(Training):
    """What is frozen is asked to be left alone, with a table that is only read."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.table = keras.Variable(tf.ones(3), trainable=False, name="table")

    def measure(self, y: Any, prediction: Any) -> None:
        super().measure(y, prediction * self.table.value)

    def expected(self) -> dict[str, Any]:
        return {**super().expected(), "unchanged": [*self.frozen, self.table]}


@planted("unchanged", "table is written by")
class WritesATable(LeavesAlone):
    """A table that should only be read, overwritten."""

    def measure(self, y: Any, prediction: Any) -> None:
        super().measure(y, prediction)
        self.table.assign(tf.reduce_mean(tf.abs(prediction), axis=0))


@planted("unchanged", "is written by", also=("unwatched",))
class ResetsWhatIsFrozen(LeavesAlone):
    """A frozen variable, reset in a branch that is seldom taken."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        super().apply(gradients, variables)

        def reset() -> Any:
            self.frozen[0].assign(tf.zeros_like(self.frozen[0].value))
            return 0

        tf.cond(self.scale < 0.0, reset, lambda: 0)
