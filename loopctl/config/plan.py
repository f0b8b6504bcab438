"""What a config means, free of any model: immutable, validated, ready to be compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from loopctl.config.averages import Average
from loopctl.config.errors import place
from loopctl.config.loss_weights import LossWeights
from loopctl.config.losses import same_loss
from loopctl.config.per_example import PerExample
from loopctl.config.predicates import Condition, Expression, Number
from loopctl.config.rates import LearningRate

Selector = Callable[[keras.Model], Any] | tuple[str, ...]
"""A function of the model, or globs."""


@dataclasses.dataclass(frozen=True)
class Clipping:
    """How gradients are clipped: each element to ``[lower, upper]`` (``value``), each gradient to
    the L2 norm `upper` (``norm``), or all of a substep together (``global_norm``)."""

    kind: str
    lower: float
    upper: float

    def __str__(self) -> str:
        if self.kind == "value":
            return f"[{self.lower:g}, {self.upper:g}]"
        return f"{self.kind.replace('_', ' ')} {self.upper:g}"


@dataclasses.dataclass(frozen=True)
class Substep:
    """One branch of an action.

    `loss` is a Keras loss or a function ``(y_true, y_pred)``, or a structure of these and None as
    ``Model.compile`` takes it; None for zero data loss. `compiled` says that the model's own loss
    is meant instead. `loss_weights` take the place of those that the model was compiled with.
    `objective` is a function ``(model, data)`` that takes the place of forward pass and loss.
    `regularize` is a bool or chooses layers, and so does `inference`, which is about their mode. At
    most one of `variables` and `excluded_variables` is set. `ascend` is the radius within which
    gradients are taken uphill, or a function that says where; `per_example` what is done to the
    gradient of each example. `optimizer` is None for the compiled
    one, `learning_rate` None for its rate. `accumulate` is of how many train steps the gradients
    are averaged for one update, and `average` an average of weights that follows these.
    `skip_nonfinite`: an update whose gradients are not finite is left out. `update_statistics` is
    None for once per train step. `says_regularize`: the config has a word on
    `regularize`.
    """

    action: str
    branch: bool
    loss: Any
    compiled: bool
    loss_weights: LossWeights | None
    objective: Callable[[Any, Any], Any] | None
    regularize: bool | Selector
    inference: bool | Selector
    variables: Selector | None
    excluded_variables: Selector | None
    ascend: float | Number | Callable[[list[Any], list[Any]], Any] | None
    per_example: PerExample | None
    gradients: Callable[[list[Any], list[Any]], Any] | None
    clipping: Clipping | None
    optimizer: Any
    learning_rate: LearningRate | None
    repeat: int
    accumulate: int
    average: Average | None
    skip_nonfinite: bool
    update_statistics: bool | None
    says_regularize: bool

    @property
    def name(self) -> str:
        """Under which the substep is bound to the model: ``gate_on`` or ``gate_off``."""
        return f"{self.action}_{'on' if self.branch else 'off'}"

    @property
    def has_loss(self) -> bool:
        """Whether there is anything to train by."""
        given = self.compiled or self.loss is not None or self.objective is not None
        return given or bool(self.regularize)

    @property
    def treats(self) -> bool:
        """Whether gradients are changed on their way to the optimizer."""
        return self.gradients is not None or self.clipping is not None

    @property
    def noisy(self) -> bool:
        """Whether noise is added to gradients."""
        return self.per_example is not None and self.per_example.noisy

    @property
    def alone(self) -> bool:
        """Whether a forward pass, or an update under a condition, is the branch's own."""
        own_pass = self.objective is not None or self.inference is not False
        own_pass = own_pass or self.ascend is not None or self.per_example is not None
        return own_pass or self.conditional or self.loss_weights is not None

    @property
    def conditional(self) -> bool:
        """Whether there are train steps of the branch without an update."""
        return self.accumulate > 1 or self.skip_nonfinite

    @property
    def expressions(self) -> dict[str, Expression]:
        """What the graph evaluates in every step of this branch, by its name in the source."""
        found: dict[str, Expression] = {}
        if self.average is not None and self.average.start is not None:
            found["average"] = self.average.start
        if isinstance(self.ascend, Number):
            found["ascend"] = self.ascend
        for values in (self.loss_weights, self.learning_rate, self.per_example):
            found |= {} if values is None else values.expressions
        return found

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
    def predicate(self) -> Condition | None:
        """The condition, if the graph evaluates it."""
        return self.cond if isinstance(self.cond, Condition) else None

    @property
    def substeps(self) -> tuple[Substep, ...]:
        return tuple(substep for substep in (self.on, self.off) if substep is not None)

    @property
    def moving(self) -> tuple[Substep, ...]:
        """The substeps that may move statistics: not those in which the whole model infers."""
        return tuple(s for s in self.substeps if s.inference is not True)

    @property
    def shares_forward(self) -> bool:
        """Whether one forward pass and data loss could serve both branches."""
        on, off = self.on, self.off
        if on is None or off is None or on.repeat > 1 or off.repeat > 1:
            return False
        if on.update_statistics is not off.update_statistics:
            return False
        if on.alone or off.alone:
            return False
        return on.compiled == off.compiled and same_loss(on.loss, off.loss)


@dataclasses.dataclass(frozen=True)
class AsyncAction:
    """What happens between train steps when its condition holds; `when` says between which.

    `step`: after each step after which this graph predicate holds.
    """

    name: str
    cond: Callable[[Any], Any]
    model: Callable[[keras.Model], Any] | None
    callback: Callable[[Any], Any] | None
    when: str
    step: Condition | None
    reset_optimizer: bool


@dataclasses.dataclass(frozen=True)
class ControlPlan:
    """All actions, in the order in which they run."""

    actions: tuple[Action, ...]
    async_actions: tuple[AsyncAction, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(action.name for action in self.actions)

    @property
    def substeps(self) -> tuple[Substep, ...]:
        return tuple(substep for action in self.actions for substep in action.substeps)

    @property
    def has_parts(self) -> bool:
        """Whether there is an objective, which may report named parts of its loss."""
        return any(substep.objective is not None for substep in self.substeps)

    @property
    def skipping(self) -> tuple[str, ...]:
        """The actions that report how many updates were left out."""
        return tuple(a.name for a in self.actions if any(s.skip_nonfinite for s in a.substeps))

    @property
    def logged(self) -> frozenset[str]:
        """What a train step reports by names that follow from those of actions."""
        losses = (f"loss_{name}" for name in self.names)
        return frozenset(("loss", *losses, *(f"skipped_{name}" for name in self.skipping)))

    @property
    def predicates(self) -> tuple[Expression, ...]:
        """Everything that the graph evaluates from counters and history."""
        conditions: tuple[Expression, ...] = tuple(
            a.predicate for a in self.actions if a.predicate is not None
        )
        pauses = tuple(action.step for action in self.stepping if action.step is not None)
        return conditions + tuple(e for s in self.substeps for e in s.expressions.values()) + pauses

    @property
    def stepping(self) -> tuple[AsyncAction, ...]:
        """The async actions that come after some train steps, as the graph decides."""
        return tuple(action for action in self.async_actions if action.step is not None)

    @property
    def host_actions(self) -> tuple[Action, ...]:
        """The actions whose condition is a Python callable."""
        return tuple(action for action in self.actions if action.predicate is None)

    @property
    def reporting(self) -> tuple[Action, ...]:
        """The actions that may give a train step its `loss`: the first of them that runs does."""
        always = [i for i, action in enumerate(self.actions) if action.on and action.off]
        return self.actions[: always[0] + 1] if always else self.actions

    @property
    def always_runs(self) -> bool:
        """Whether every train step runs a substep."""
        return len(self.reporting[-1].substeps) == 2

    def measures(self, substep: Substep) -> bool:
        """Whether `substep` updates the model's metrics.

        A batch should count once per train step, so the first action that always runs a substep
        measures; if no action does, every substep has to.
        """
        always = [action for action in self.actions if action.on and action.off]
        return not always or always[0].name == substep.action

    def moves_statistics(self, substep: Substep) -> bool | None:
        """Whether `substep` updates moving statistics; None if it depends on what ran before it.

        They move once per train step: in the first substep that runs.
        """
        if substep.update_statistics is not None:
            return substep.update_statistics
        if substep.inference is True:
            return False
        names = [action.name for action in self.actions]
        before = [a for a in self.actions[: names.index(substep.action)] if a.moving]
        if any(len(action.moving) == 2 for action in before):
            return False
        return None if before else True
