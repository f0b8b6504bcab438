"""The state of a callback: what it saves, and how it goes on from what was saved."""

from __future__ import annotations

from typing import Any

import numpy as np

from loopctl.compile import Steps
from loopctl.config import ConfigError
from loopctl.run import saved_state
from loopctl.run.moments import Moments


class Resumable(Moments):
    """The part of a callback that gives and takes the state of a training."""

    _steps: Steps | None

    def __init__(self) -> None:
        super().__init__()
        self._begun = False  # whether an epoch of this fit has begun
        self._restored: saved_state.State | None = None  # for the next fit to go on from
        self._within: saved_state.State = {}  # where in an epoch that was saved
        self._saved = saved_state.SavedWithModel(self.get_state, self._load)
        self.tracker = saved_state.Tracker(self.get_state, self.set_state)

    def get_state(self) -> saved_state.State:
        """What a training under control has come to, apart from the model: see `saved_state`."""
        steps = self._steps
        own = [] if steps is None else steps.optimizers.own
        controls = {} if steps is None else steps.state.controls
        return {
            **self._tracked_state(),
            "epoch": self._epoch,
            "controls": {name: bool(variable) for name, variable in controls.items()},
            "optimizers": [[np.asarray(v) for v in optimizer.variables] for optimizer in own],
            "branches": {} if steps is None else steps.remembered.values(),
            "random": {} if steps is None else {"seeds": [np.asarray(v) for v in self._seeds]},
            "within": self.position.state(self._stale, self._anew, self.batches_in_epochs),
        }

    @property
    def _seeds(self) -> list[Any]:
        """What the model's layers draw random numbers by, which Keras does not save."""
        model = self.steps.model
        known = {id(v) for v in (*model.weights, *model.metrics_variables)}
        return [variable for variable in model.variables if id(variable) not in known]

    def set_state(self, state: saved_state.State) -> None:
        """Lets the next ``fit`` go on from `state`, where it would begin anew."""
        self._restored = state

    def _load(self, state: saved_state.State) -> None:
        """Takes the state from a file of the model's weights, unless training has begun already."""
        if not self._begun:
            self._restored = state

    def _restore(self) -> None:
        """Takes up the state to go on from, if there is one."""
        if self._restored is None or self._steps is None:
            return
        state, self._restored = self._restored, None
        own = self._steps.optimizers.own
        if state["controls"].keys() != self.plan.names or len(state["optimizers"]) != len(own):
            raise ConfigError(
                "the state belongs to the actions "
                f"{', '.join(state['controls']) or 'that were released'} with "
                f"{len(state['optimizers'])} optimizers of their own: this config has "
                f"{', '.join(sorted(self.plan.names))} with {len(own)}"
            )
        self._track_from(state)
        self._epoch = state["epoch"]
        for name, control in state["controls"].items():
            self._steps.state.controls[name].assign(control)
        for optimizer, values in zip(own, state["optimizers"], strict=True):
            for variable, value in zip(optimizer.variables, values, strict=True):
                variable.assign(value)
        self._steps.remembered.load(state.get("branches", {}))
        seeds = state.get("random", {}).get("seeds", ())
        for variable, value in zip(self._seeds, seeds, strict=False):
            variable.assign(value)
        self._within = state.get("within", {})

    def go_on_in_epoch(self, epoch: int) -> None:
        """For a `Backup`: lets `fit` pass over the steps of an epoch that are done.

        Raises:
            ConfigError: nothing is known of these.
        """
        if not self._within:
            raise ConfigError(f"the backup does not say where in epoch {epoch + 1} it was saved")
        _, stale, anew, batches = map(int, self._within["done"])
        self._counters["batches_in_epochs"] = batches
        self._stale, self._anew = bool(stale), bool(anew)
        self.position.go_on(self._within)
