"""What a config means, free of any model: immutable, validated, ready to be compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from loopctl.errors import place


@dataclasses.dataclass(frozen=True)
class Substep:
    """One branch of an action.

    `loss` is a ``keras.losses.Loss``-like callable ``(y_true, y_pred, sample_weight)``, None for
    zero data loss; `compiled` says that the model's compiled loss is meant instead. At most one of
    `variables` and `excluded_variables` is set, functions of the model. `clipping` is ``(lo, hi)``.
    """

    action: str
    branch: bool
    loss: Callable[..., Any] | None
    compiled: bool
    regularize: bool
    variables: Callable[[keras.Model], Any] | None
    excluded_variables: Callable[[keras.Model], Any] | None
    clipping: tuple[float, float] | None

    @property
    def name(self) -> str:
        """Under which the substep is bound to the model: ``gate_on`` or ``gate_off``."""
        return f"{self.action}_{'on' if self.branch else 'off'}"

    def place(self, *keys: object) -> str:
        return place(self.action, self.branch, *keys)


@dataclasses.dataclass(frozen=True)
class Action:
    """A named condition and the substeps it chooses between; one of them may be missing."""

    name: str
    cond: Callable[[Any], Any]
    on: Substep | None
    off: Substep | None

    @property
    def substeps(self) -> tuple[Substep, ...]:
        return tuple(substep for substep in (self.on, self.off) if substep is not None)


@dataclasses.dataclass(frozen=True)
class AsyncAction:
    """What happens between epochs when its condition holds."""

    name: str
    cond: Callable[[Any], Any]
    model: Callable[[keras.Model], Any] | None
    callback: Callable[[Any], Any] | None


@dataclasses.dataclass(frozen=True)
class ControlPlan:
    """All actions, in the order in which they run."""

    actions: tuple[Action, ...]
    async_actions: tuple[AsyncAction, ...]

    @property
    def substeps(self) -> tuple[Substep, ...]:
        return tuple(substep for action in self.actions for substep in action.substeps)

    def measures(self, substep: Substep) -> bool:
        """Whether `substep` updates the model's metrics.

        A batch should count once per train step, so the first action that always runs a substep
        measures; if no action does, every substep has to.
        """
        always = [action for action in self.actions if action.on and action.off]
        return not always or always[0].name == substep.action
