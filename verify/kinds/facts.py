"""Facts of a step as plain data, each kind's and all together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from verify.find import HazardFact, Written
from verify.formulas import ObjectiveFact


@dataclasses.dataclass(frozen=True)
class LossFact:
    """A data loss whose gradient reaches an update.

    `weight`: its constant factor, or None. `scaled_by`: the variables whose values multiply its
    gradient (a loss scale). `fingerprint`: for a loss that is not one of Keras' own, digits that
    change whenever something else is differentiated, whatever the loss is called.
    """

    name: str
    weight: float | None
    prediction: str
    variables: tuple[str, ...]
    scaled_by: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True)
class TermFact:
    """A regularisation term that reaches the update of the variable it depends on."""

    variable: str
    kind: str
    weight: float | None


@dataclasses.dataclass(frozen=True)
class ClipFact:
    """A clip of the gradient of `variable`. `complete`: whether all of that gradient is clipped so.

    `kind` is ``value``, ``norm`` or ``global_norm``; for a norm, `upper` is the bound. `misses`
    says why a clip is not complete.
    """

    variable: str
    kind: str
    lower: float
    upper: float
    complete: bool
    misses: str = ""


@dataclasses.dataclass(frozen=True)
class TreatmentFact:
    """What is done to the gradient of `variable` besides clips, before the optimizer.

    `factor`: what it is multiplied by; None if something else is done. `limits`: whether large
    gradients come out smaller than in proportion.
    """

    variable: str
    factor: float | None
    limits: bool

    def __str__(self) -> str:
        if self.factor is not None:
            return f"times {self.factor:.6g}"
        return "changed, and limited, but not by a known clip" if self.limits else "changed"


@dataclasses.dataclass(frozen=True)
class OptimizerFact:
    """The Keras optimizer, with its settings, that updates `variables`.

    `rate`: the learning rate now, or None if it depends on the step.
    """

    name: str
    rate: float | None
    variables: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class FollowFact:
    """A variable that is written as ``(1 - rate) * variable + rate * source``.

    `rate`: None if it depends on the step. `first`: the rate of the first step, if it is different.
    `when`: ``before`` or ``after`` the update of `source`, or empty if that has none. `chosen_by`:
    what chooses the branch in which this happens. `trained`: whether a gradient updates the
    variable as well.
    """

    variable: str
    source: str
    rate: float | None
    when: str = ""
    chosen_by: str = ""
    trained: bool = False
    first: float | None = None


@dataclasses.dataclass(frozen=True)
class GuardFact:
    """A branching op or loop of the graph, and what chooses its branch.

    `variables`: those whose values choose (none if data do). `frozen`: the value that always
    chooses, if it is a constant (a Python value that was frozen while tracing); else None.
    `trains`: for each branch, the variables that are updated from their gradients in it.
    """

    variables: tuple[str, ...]
    op: str
    place: str
    frozen: bool | int | None
    trains: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class ConditionFact:
    """What decides a choice: `variable` is set to `value`, an expression of other variables.

    `variable` is empty where a branch is chosen by the expression itself.
    """

    variable: str
    value: str

    def __str__(self) -> str:
        return f"{self.variable or 'a branch'} where {self.value}"


@dataclasses.dataclass(frozen=True)
class StatisticFact:
    """A moving statistic, and the share of itself that it keeps in a step."""

    variable: str
    keeps: float

    def __str__(self) -> str:
        return f"{self.variable} keeps {self.keeps:.6g}"


@dataclasses.dataclass(frozen=True)
class PredictionFact:
    """The model that computes what the losses judge, its mode and its precision."""

    model: str
    training: bool
    dtypes: tuple[str, ...]

    def __str__(self) -> str:
        mode = "training" if self.training else "inference"
        return f"{self.model} in {mode} mode, {' and '.join(self.dtypes)}"


Value = TypeVar("Value")


class Late(Generic[Value]):
    """A field whose value is computed when it is read first: a model has to be traced for it, say.

    A dataclass is given a function that computes it, or the value itself.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __set__(self, facts: Facts, value: Value | Callable[[], Value]) -> None:
        vars(facts)[self._name] = value

    def __get__(self, facts: Facts | None, owner: type) -> Value:
        if facts is None:
            raise AttributeError(f"{owner.__name__} has no default for it")  # as dataclasses ask
        value = vars(facts)[self._name]
        if callable(value):  # which holds the step: it is not kept
            value = vars(facts)[self._name] = value()
        found: Value = value
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of one step; `verify.StepFacts` says what each field holds."""

    name: str
    losses: tuple[LossFact, ...]
    objectives: tuple[ObjectiveFact, ...]
    prediction: Late[PredictionFact | None] = Late()
    regularization: tuple[TermFact, ...]
    clipping: tuple[ClipFact, ...]
    treated: tuple[TreatmentFact, ...]
    optimizers: tuple[OptimizerFact, ...]
    accumulated: int | None
    written: Written
    statistics: tuple[StatisticFact, ...]
    follows: tuple[FollowFact, ...]
    training: tuple[str, ...]
    inference: tuple[str, ...]
    draws: int
    weighted: bool | None
    frozen_draws: tuple[str, ...]
    frozen_late: tuple[str, ...]
    decayed: tuple[str, ...]
    growing: tuple[str, ...]
    read_only: tuple[str, ...]
    stopped: tuple[str, ...]
    custom_gradients: tuple[str, ...]
    fingerprint: Late[str] = Late()
    guards: tuple[GuardFact, ...]
    conditions: tuple[ConditionFact, ...]
    hazards: tuple[HazardFact, ...]
    ops: tuple[tuple[str, int], ...]
    constant_bytes: int
    variable_bytes: int

    @property
    def watched(self) -> tuple[str, ...]:
        """Trainable variables updated from their gradients."""
        return self.written.watched

    @property
    def op_count(self) -> int:
        """How many ops the step has."""
        return sum(count for _, count in self.ops)


def times(weight: float | None) -> str:
    """A factor behind what it multiplies; nothing for none, or for one."""
    return "" if weight is None or np.isclose(weight, 1) else f" times {weight:.6g}"
