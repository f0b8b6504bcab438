"""The optimizers of a plan on a model: built for what they train, before the first substep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl.compile.gradient_treatment import known_to
from loopctl.compile.optimizer_groups import Groups
from loopctl.compile.selection import grouped
from loopctl.compile.source_ground import DYNAMIC
from loopctl.config import ConfigError, ControlPlan, OptimizerGroups, Substep
from loopctl_shared import inner_optimizer


class Optimizers:
    """Which optimizer applies each substep's gradients.

    A branch's own optimizer is built on the variables of all branches that it serves; under mixed
    precision it scales the loss as the compiled one does.

    Raises:
        ConfigError: an own optimizer has been built for other variables before.
    """

    def __init__(
        self, plan: ControlPlan, model: keras.Model, selections: Mapping[str, list[Any]]
    ) -> None:
        self.compiled = model.optimizer
        self._model, self._selections = model, selections
        self._replacing = [
            s for s in plan.substeps if s.learning_rate is not None and not s.learning_rate.factors
        ]
        self._own: dict[Any, Any] = {}  # by the id of what the plan holds, or the ids
        self._served: dict[Any, list[Substep]] = {}
        for substep in plan.substeps:
            if substep.optimizer is not None:
                self._served.setdefault(_key(substep), []).append(substep)
        for key, substeps in self._served.items():
            self._own[key] = self._made(substeps[0], self._variables(key))
            self._check(self._own[key], substeps[0], self._variables(key))
        self._check_alone()

        self.accumulating = self._accumulating(plan)

    def _accumulating(self, plan: ControlPlan) -> frozenset[str]:
        """Names of the substeps that share an optimizer which accumulates gradients.

        Raises:
            ConfigError: they train different variables: when one of them completes an update, the
                optimizer forgets what it has accumulated of the others'.
        """
        found = set[str]()
        for substep in plan.substeps:
            shared = [s for s in plan.substeps if self.of(s) is self.of(substep)]
            steps = max(
                (o.gradient_accumulation_steps or 0 for o in self.parts(substep)), default=0
            )
            if steps and substep.accumulate > 1:
                raise ConfigError(
                    f"{substep.place('accumulate')} is {substep.accumulate}, and its optimizer "
                    f"accumulates the gradients of {steps} updates by itself: remove one of them"
                )
            if len(shared) == 1 or not steps:
                continue
            found.add(substep.name)
            for other in shared:
                if self._selected(other) != self._selected(substep):
                    where = substep.place("optimizer") if substep.optimizer else "the compiled one"
                    raise ConfigError(
                        f"{substep.place()} and {other.place()} train different variables with one "
                        f"optimizer ({where}) that accumulates the gradients of {steps} substeps: "
                        "what it has accumulated for one is lost whenever the other completes an "
                        'update. Give each an accumulating "optimizer" of its own'
                    )
        return frozenset(found)

    def check_averages(self, plan: ControlPlan) -> None:
        """Whether no branch averages what its optimizer averages as well.

        Raises:
            ConfigError: in the end both averages would take the place of the same weights.
        """
        for substep in plan.substeps:
            aside = substep.average is not None and substep.average.into is None
            if aside and any(optimizer.use_ema for optimizer in self.parts(substep)):
                raise ConfigError(
                    f"{substep.place('average')} averages weights, and its optimizer does so by "
                    "itself (use_ema=True): remove one of them"
                )

    def check_rates(self, plan: ControlPlan) -> None:
        """Whether no branch has one rate for an optimizer of several optimizers.

        Raises:
            ConfigError: each of them has a rate of its own.
        """
        for substep in plan.substeps:
            rates = substep.learning_rate
            if rates is not None and rates.rate is not None and len(self.parts(substep)) > 1:
                raise ConfigError(
                    f"{substep.place('learning_rate')} is one rate for an optimizer that consists "
                    "of several with their own rates: set those, or give factors, such as {'*': "
                    "0.1}"
                )

    def _selected(self, substep: Substep) -> set[int]:
        return {id(variable) for variable in self._selections[substep.name]}

    def parts(self, substep: Substep) -> list[Any]:
        """The optimizers that a substep's optimizer consists of, without loss scaling."""
        inner = self.inner(substep)
        return list(getattr(inner, "optimizers", [inner]))

    def _made(self, substep: Substep, variables: list[Any]) -> Any:
        given = substep.optimizer
        with self._model.distribute_strategy.scope():
            if isinstance(given, OptimizerGroups):
                optimizer: Any = self._grouped(given, substep.place("optimizer"), variables)
            else:
                optimizer = _one(given)
            scales = isinstance(self.compiled, keras.optimizers.LossScaleOptimizer)
            if scales and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        return optimizer

    @staticmethod
    def _grouped(given: OptimizerGroups, where: str, variables: list[Any]) -> Groups:
        """The optimizers of groups as one.

        Raises:
            ConfigError: not every variable has exactly one, or one does more than to update.
        """
        groups = grouped(list(given.globs), variables, where)
        chosen = {id(v) for group in groups for v in group}
        left = [v.path for v in variables if id(v) not in chosen]
        if left:
            raise ConfigError(
                f"{where} has no optimizer for {', '.join(left)}, which the branch trains: add a "
                'glob that matches, or leave them out of "variables"'
            )
        optimizers = [_one(one) for one in given.optimizers]
        for glob, one in zip(given.globs, optimizers, strict=True):
            if hasattr(inner_optimizer(one), "optimizers") or inner_optimizer(one) is not one:
                raise ConfigError(
                    f"{where}[{glob!r}] is a {type(one).__name__}, which consists of other "
                    "optimizers: give an optimizer that updates variables by itself"
                )
            if one.loss_scale_factor:
                raise ConfigError(
                    f"{where}[{glob!r}] scales the loss (loss_scale_factor), which the other "
                    "groups use as well: leave it out"
                )
        return Groups(optimizers, groups)

    def _check_alone(self) -> None:
        """Whether no optimizer of a group is another one's, or the compiled one.

        Raises:
            ConfigError: its iterations would count what others update.
        """
        own = {key: inner_optimizer(one) for key, one in self._own.items()}
        owners = {id(inner_optimizer(self.compiled)): "the compiled one"}
        for key, optimizer in own.items():
            owners.setdefault(id(optimizer), self._served[key][0].place("optimizer"))
        for key, optimizer in own.items():
            where = self._served[key][0].place("optimizer")
            for part in optimizer.optimizers if isinstance(optimizer, Groups) else ():
                if id(part) in owners:
                    raise ConfigError(
                        f"{where} has the optimizer {part.name!r}, which is that of "
                        f"{owners[id(part)]} as well: each group needs an optimizer of its own"
                    )
                owners[id(part)] = where

    def applying(self, substep: Substep) -> Any:
        """What scales a substep's loss and applies its gradients, whichever of them there are."""
        optimizer = self.of(substep)
        several = hasattr(optimizer, "optimizers") and not isinstance(optimizer, Groups)
        return Several(optimizer) if several else optimizer

    def build(self) -> None:
        """Makes all slots: optimizers are applied to subsets of what they know."""
        with self._model.distribute_strategy.scope():
            for key, optimizer in self._own.items():
                if not optimizer.built:
                    try:
                        optimizer.build(self._variables(key))
                    except RuntimeError as error:
                        place = self._served[key][0].place("optimizer")
                        raise ConfigError(
                            f"{place} was created outside the scope of the model's strategy: "
                            f"create it inside, or give its name ({error})"
                        ) from error
            if not self.compiled.built:
                self.compiled.build(self._model.trainable_variables)

    def check_compiled(self, plan: ControlPlan) -> None:
        """Whether the compiled optimizer knows what branches train by it.

        Raises:
            ConfigError: it was built before these variables were there, or could be trained.
        """
        inner = inner_optimizer(self.compiled)
        parts = getattr(inner, "optimizers", [inner])
        known = {id(variable) for part in parts for variable in known_to(part)}
        for substep in plan.substeps:
            if self.of(substep) is not self.compiled or not substep.has_loss:
                continue
            new = [v.path for v in self._selections[substep.name] if id(v) not in known]
            if new:
                raise ConfigError(
                    f"{substep.place()} trains {', '.join(new)}, which the compiled optimizer "
                    "does not know: it was built before (by training, or when a callback was "
                    "attached to a model that had never been called). Give model.compile a new "
                    'optimizer, or leave these out of "variables"'
                )

    def of(self, substep: Substep) -> Any:
        if substep.optimizer is None:
            return self.compiled
        return self._own[_key(substep)]

    @property
    def own(self) -> list[Any]:
        """The branches' own, each once, in the order of the config."""
        return list(self._own.values())

    @property
    def own_by_place(self) -> dict[str, Any]:
        """The same, but for the compiled one, by the first place that each has in the config."""
        return {
            self._served[key][0].place("optimizer"): optimizer
            for key, optimizer in self._own.items()
            if optimizer is not self.compiled
        }

    @property
    def replaced_by_place(self) -> dict[str, Any]:
        """Optimizers in the place of whose rate a branch has one of its own, by that place."""
        return {s.place("learning_rate"): self.of(s) for s in self._replacing}

    def scaling(self, substep: Substep) -> str | None:
        """What `substep`'s loss is multiplied with, as an expression of its optimizer."""
        optimizer = self.of(substep)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            return DYNAMIC
        return "optimizer.loss_scale_factor" if optimizer.loss_scale_factor else None

    def clips(self, substep: Substep) -> bool:
        """Whether the optimizer was constructed to clip."""
        return any(o.clipvalue or o.clipnorm or o.global_clipnorm for o in self.parts(substep))

    def inner(self, substep: Substep) -> Any:
        """The optimizer without its loss scaling."""
        return inner_optimizer(self.of(substep))

    def finalize(self) -> None:
        """Puts averages of weights in their place (`use_ema`), if a branch's own optimizer has any.

        As `fit` does by itself for the compiled one.
        """
        for optimizer in self._own.values():
            if optimizer is not self.compiled and int(tf.convert_to_tensor(optimizer.iterations)):
                optimizer.finalize_variable_values(known_to(optimizer))

    def _variables(self, key: Any) -> list[Any]:
        served = self._served[key]
        chosen = {id(v) for substep in served for v in self._selections[substep.name]}
        return [v for v in self._model.trainable_variables if id(v) in chosen]

    def _check(self, optimizer: Any, substep: Substep, variables: list[Any]) -> None:
        """Whether an optimizer that is built already can train `variables`."""
        inner = inner_optimizer(optimizer)
        if isinstance(inner, Groups):
            for part, group in zip(inner.optimizers, inner.groups, strict=True):
                self._check(part, substep, group)
        if optimizer is self.compiled or not optimizer.built:
            return
        known = {id(variable) for variable in known_to(optimizer)}
        unknown = [variable.path for variable in variables if id(variable) not in known]
        if unknown:
            raise ConfigError(
                f"{substep.place('optimizer')} has been built for variables other than "
                f"{', '.join(unknown)}: give each model an optimizer of its own"
            )

    def reset_slots(self, variables: list[Any]) -> None:
        """Sets what the optimizers remember of `variables` back to its initial values."""
        for optimizer in (self.compiled, *self._own.values()):
            inner = inner_optimizer(optimizer)
            for part in getattr(inner, "optimizers", [inner]):
                self._reset_slots(part, variables)

    def _reset_slots(self, optimizer: Any, variables: list[Any]) -> None:
        slots = {slot.path: slot for slot in optimizer.variables}
        fresh = type(optimizer).from_config(optimizer.get_config())
        with self._model.distribute_strategy.scope():
            fresh.build(variables)
        own = {id(fresh.iterations), id(fresh.learning_rate)}
        for slot in fresh.variables:
            if id(slot) not in own and slot.path in slots:
                slots[slot.path].assign(slot)


def _key(substep: Substep) -> Any:
    """What tells an own optimizer from others: what the plan holds, not what it looks like."""
    given = substep.optimizer
    grouped = isinstance(given, OptimizerGroups)
    return (given.globs, *map(id, given.optimizers)) if grouped else id(given)


def _one(given: Any) -> Any:
    return given if isinstance(given, keras.optimizers.Optimizer) else given()


class Several:
    """Keras' MultiOptimizer, for some of its variables: its own `apply` wants gradients of all."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    @property
    def optimizers(self) -> list[Any]:
        return list(self.optimizer.optimizers)

    def scale_loss(self, loss: Any) -> Any:
        return self.optimizer.scale_loss(loss)

    @property
    def loss_scale_factor(self) -> Any:
        return self.optimizer.loss_scale_factor

    def apply(self, gradients: list[Any], variables: list[Any]) -> None:
        for part in self.optimizer.optimizers:
            known = {id(variable) for variable in known_to(part)}
            pairs = [
                pair for pair in zip(gradients, variables, strict=True) if id(pair[1]) in known
            ]
            if pairs:
                part.apply([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        if gradients:
            self.optimizer.iterations.assign_add(1)
