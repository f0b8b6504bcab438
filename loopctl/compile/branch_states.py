"""What branches remember from one train step to another, besides what optimizers do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl.compile.accumulation import Accumulation
from loopctl.compile.averages import Average, check_kept_aside, followed
from loopctl.compile.per_example import Noise
from loopctl.compile.skipping import Skipped
from loopctl.config import ControlPlan

Values = dict[str, list[np.ndarray[Any, Any]]]


class BranchStates:
    """Of all branches of a plan on a model, by the names of their substeps.

    Args:
        selections: the variables that each substep trains.

    Attributes:
        accumulations: sums of gradients, of branches that accumulate these.
        averages: of weights, of branches that average these.
        skipped: counts of updates that were left out, by action.
        noises: where noise goes on, of branches that add some.
    """

    def __init__(
        self, plan: ControlPlan, model: keras.Model, selections: Mapping[str, list[Any]]
    ) -> None:
        check_kept_aside(plan.substeps, dict(selections))
        pairs = {s.name: followed(s, model, selections[s.name]) for s in plan.substeps}
        with model.distribute_strategy.scope():
            self.averages = {
                s.name: Average(s.average.decay, *pairs[s.name])
                for s in plan.substeps
                if s.average is not None
            }
            self.skipped = {name: Skipped() for name in plan.skipping}
            self.accumulations = {
                s.name: Accumulation(s.accumulate, selections[s.name])
                for s in plan.substeps
                if s.accumulate > 1
            }
            self.noises = {s.name: Noise() for s in plan.substeps if s.noisy}

    @property
    def _variables(self) -> dict[str, list[Any]]:
        sums = {f"{name}/sums": found.variables for name, found in self.accumulations.items()}
        sums |= {f"{name}/average": found.variables for name, found in self.averages.items()}
        sums |= {f"{name}/noise": [found.state] for name, found in self.noises.items()}
        return sums | {f"{name}/skipped": [found.updates] for name, found in self.skipped.items()}

    def restart(self) -> None:
        """As a training begins: nothing waits for an update, averages and counts begin anew.

        Noise goes on: the same twice would cancel out of the difference of two trainings.
        """
        for accumulation in self.accumulations.values():
            accumulation.clear()
        for average in self.averages.values():
            average.seen.assign(0)
        for skipped in self.skipped.values():
            skipped.updates.assign(tf.zeros((), tf.int64))

    def finalize(self) -> None:
        """As a training ends: averages that were kept aside take the place of weights."""
        for average in self.averages.values():
            average.finalize()

    def forget(self, weights: Iterable[Any]) -> None:
        """Drops what is remembered of weights that were set anew."""
        ids = {id(weight) for weight in weights}
        for accumulation in self.accumulations.values():
            accumulation.forget(ids)

    def values(self) -> Values:
        """Everything remembered, as arrays."""
        return {
            name: [np.asarray(tf.convert_to_tensor(v)) for v in variables]
            for name, variables in self._variables.items()
        }

    def load(self, values: Mapping[str, list[Any]]) -> None:
        """Takes over what `values` gave, where there is any."""
        for name, variables in self._variables.items():
            for variable, value in zip(variables, values.get(name, ()), strict=False):
                variable.assign(value)
