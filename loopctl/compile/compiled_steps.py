"""Source -> functions: compiled under their own file name, bound to a model, ready to train."""

from __future__ import annotations

import functools
import inspect
import itertools
import linecache
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl.compile import (
    ascending,
    gradient_treatment,
    graph_state,
    inference,
    objectives,
    per_example,
    rates,
    skipping,
)
from loopctl.compile.accumulation import Accumulation
from loopctl.compile.averages import Average
from loopctl.compile.branch_states import BranchStates
from loopctl.compile.conditional_updates import update_if
from loopctl.compile.data_losses import (
    BranchLoss,
    Weight,
    _as_tensor,
    branch_loss,
    check_losses,
    compiled_loss,
    computed_loss,
    computes_loss,
)
from loopctl.compile.main_step_source import logs_source, main_step_source
from loopctl.compile.objectives import is_built
from loopctl.compile.optimizer_groups import Groups
from loopctl.compile.optimizers import Optimizers
from loopctl.compile.selection import (
    inferring_layers,
    metrics_of,
    regularized_layers,
    select,
    statistics_of,
)
from loopctl.compile.source_ground import Ground
from loopctl.compile.step_source import shared_source, substep_source
from loopctl.config import (
    Action,
    ConfigError,
    ControlPlan,
    OptimizerGroups,
    Substep,
)
from loopctl_shared import GENERATED

_serial = itertools.count()


class Steps:
    """The compiled steps of one plan on one model.

    `source` holds the texts by function name; `substeps` and `main` are ``tf.function``s of one
    argument `data`, for inspection; `plain_main` and `logs` are what training runs. By a substep's
    name, `selections` are the variables that it trains, `layers` those whose losses it adds and
    `inferring` those that it runs as in inference.
    `groups` are the variables that learn at factors of a rate, for each factor.
    `plan`, `model`, `optimizers`, `remembered` and `ground` are what else the steps were made of.

    Args:
        state: control variables, means and counters that the steps read and write.
        optimize: share forward passes where possible.
        optimizers, remembered: of steps compiled before for the same model, to be used again.
    """

    def __init__(
        self,
        plan: ControlPlan,
        model: keras.Model,
        state: graph_state.GraphState,
        optimize: bool,
        optimizers: Optimizers | None = None,
        remembered: BranchStates | None = None,
    ) -> None:
        if not is_built(model):
            raise ConfigError(
                f"model {model.name!r} has no variables yet: build it (give it an Input, or call "
                "it on a batch) before its substeps can be compiled"
            )
        if not model.trainable_variables:
            raise ConfigError(
                f"model {model.name!r} has no trainable variables: there is nothing to train"
            )
        self.plan, self.model, self.state = plan, model, state
        check_losses(plan, model)
        per_example.check_examples(plan, model)
        self.compiled_loss = compiled_loss(model)
        self.selections = {s.name: select(s, model) for s in plan.substeps}
        self.layers = {s.name: regularized_layers(s, model) for s in plan.substeps}
        self.inferring = {s.name: inferring_layers(s, model) for s in plan.substeps}
        self.groups = {s.name: rates.rate_groups(s, self.selections[s.name]) for s in plan.substeps}
        self._losses = {s.name: branch_loss(s, model) for s in plan.substeps}
        self.optimizers = optimizers or Optimizers(plan, model, self.selections)
        self.optimizers.build()
        self.optimizers.check_compiled(plan)
        self.optimizers.check_averages(plan)
        self.optimizers.check_rates(plan)
        self.remembered = remembered or BranchStates(plan, model, self.selections)
        self.ground = self._ground(optimize)
        self.source: dict[str, str] = {}
        functions = {s.name: self._substep(s) for s in plan.substeps}
        callees = dict(functions)
        for action in plan.actions:
            if self.ground.shares(action):
                callees[f"{action.name}_shared"] = self._shared(action)
        for substep in plan.substeps:
            if substep.repeat > 1:
                callees[f"{substep.name}_again"] = self._substep(substep, again=True)
        main_step, logs = self._main(callees)
        self.plain_main = types.MethodType(main_step, model)
        self.logs = types.MethodType(logs, model)
        # Bound methods keep the argument list of the graphs to `data` alone.
        self.main = tf.function(self.plain_main, autograph=False)
        self.substeps = {
            name: tf.function(types.MethodType(function, model), autograph=False)
            for name, function in functions.items()
        }

    def rehearse(self, data: Any) -> None:
        """Runs the objectives on a batch once, to no effect."""
        objectives.rehearse(self.plan, self.model, self.state.parts, data)

    def _ground(self, optimize: bool) -> Ground:
        plan, model, optimizers = self.plan, self.model, self.optimizers
        scaling = {s.name: optimizers.scaling(s) for s in plan.substeps}
        with model.distribute_strategy.scope():
            distributed = tf.distribute.has_strategy()
        return Ground(
            distributed=distributed,
            replicas=model.distribute_strategy.num_replicas_in_sync,
            training=_takes_training(model.call),
            computes=computes_loss(model),
            computes_training=_takes_training(model.compute_loss),
            compiled=self.compiled_loss is not None,
            several_outputs=len(getattr(model, "output_names", None) or (None, None)) > 1,
            statistics=bool(self.state.statistics.variables),
            scaling={name: scale for name, scale in scaling.items() if scale is not None},
            clipping=frozenset(s.name for s in plan.substeps if optimizers.clips(s)),
            accumulating=optimizers.accumulating,
            share=optimize,
        )

    def _substep(self, substep: Substep, again: bool = False) -> Callable[..., Any]:
        name = f"{substep.name}_again" if again else substep.name
        self.source[name] = substep_source(
            substep,
            self.ground,
            measures=self.plan.measures(substep) and not again,
            statistics=False if again else self.plan.moves_statistics(substep),
            again=again,
        )
        return _execute(self.source[name], name, {**self._common, **self._values(substep)})

    def _shared(self, action: Action) -> Callable[..., Any]:
        name = f"{action.name}_shared"
        on, off = action.substeps
        self.source[name] = shared_source(
            action,
            self.ground,
            measures=self.plan.measures(on),
            statistics=self.plan.moves_statistics(on),
        )
        values = {
            f"{prefix}_{key}": value
            for prefix, substep in (("on", on), ("off", off))
            for key, value in self._values(substep).items()
        }
        namespace = {**self._common, **values, "own_loss": self._losses[on.name]}
        return _execute(self.source[name], name, namespace)

    @property
    def _common(self) -> dict[str, Any]:
        return {
            "keras": keras,
            "all_finite": skipping.all_finite,
            "at_rate": rates.at_rate,
            "climb": ascending.climb,
            "gradients_at": ascending.gradients_at,
            "added": per_example.added,
            "clipped_sums": per_example.clipped_sums,
            "examples_in": per_example.examples_in,
            "means": per_example.means,
            "terms_of_weights": per_example.terms_of_weights,
            "forget_added_losses": objectives.forget_added_losses,
            "in_inference": inference.in_inference,
            "loss_and_parts": objectives.loss_and_parts,
            "share_of_replica": graph_state.share_of_replica,
            "compiled_loss": self.compiled_loss,
            "computed_loss": computed_loss,
            "floatx": keras.backend.floatx(),
            "keep_overflow": gradient_treatment.keep_overflow,
            "unscaled": gradient_treatment.unscaled,
            "statistics": self.state.statistics,
            "update_if": update_if,
            "unpack_x_y_sample_weight": keras.utils.unpack_x_y_sample_weight,
        }

    def _values(self, substep: Substep) -> dict[str, Any]:
        weights = self.selections[substep.name]
        transform = substep.gradients
        if transform is not None:
            transform = gradient_treatment.checked(transform, substep.place("gradients"))
        ascend = substep.ascend
        if callable(ascend):
            ascend = gradient_treatment.checked(ascend, substep.place("ascend"), "offset")
        objective, losses = substep.objective, substep.loss_weights
        if objective is not None:
            objective = objectives.checked(objective, substep)
        return {
            "weights": weights,
            "groups": self.groups[substep.name],
            "schedule": None if substep.learning_rate is None else substep.learning_rate.rate,
            "variables": [weight.value for weight in weights],
            "layers": self.layers[substep.name],
            "inferring": self.inferring[substep.name],
            "own_loss": self._losses[substep.name],
            "objective": objective,
            "weighed": None if losses is None else losses.names,
            "loss_weights": None if losses is None else losses.weights,
            "accumulated": self.remembered.accumulations.get(substep.name),
            "skipped": self.remembered.skipped.get(substep.action),
            "noise": self.remembered.noises.get(substep.name),
            "averaged": self.remembered.averages.get(substep.name),
            "value_of": functools.partial(_value_of, substep.expressions, self.state.progress),
            "optimizer": self.optimizers.applying(substep),
            "transform": transform,
            "ascend": ascend,
            "clip_as_optimizer": gradient_treatment.clip_as(self.optimizers.parts(substep)),
        }

    def _main(self, callees: Mapping[str, Callable[..., Any]]) -> tuple[Callable[..., Any], ...]:
        plan, state = self.plan, self.state
        strategy = self.model.distribute_strategy
        self.source["main_step"] = main_step_source(plan, self.ground)
        self.source["logs"] = logs_source(plan)

        def total(loss: Any) -> Any:
            # Keras' losses divide by the global batch size, so that replicas' losses are summands.
            def sum_of(part: Any) -> Any:
                return tf.cast(strategy.reduce("SUM", part, axis=None), tf.float32)

            return tf.nest.map_structure(sum_of, loss)

        bound = {name: types.MethodType(f, self.model) for name, f in callees.items()}
        namespace = {
            **bound,
            "strategy": strategy,
            "total": total,
            "repeat": _repeat,
            "skipped": self.remembered.skipped,
            "epoch_means": state.means,
            "idle": tf.constant(float("nan")),
            "count_samples": graph_state.count_samples,
            "metrics_of": metrics_of,
            "plan": plan,
            "predicates": {a.name: a.predicate for a in plan.actions},
            "progress": state.progress,
            "reported": state.parts,
            "statistics": state.statistics,
        }
        return tuple(_execute(self.source[name], name, namespace) for name in ("main_step", "logs"))


def called_by_source(steps: Steps) -> list[Any]:
    """Our classes and functions that the text of the substeps calls, in the order of definition."""
    found: list[Any] = []
    texts = "".join(steps.source.values())
    if "own_loss(" in texts:
        found += [_as_tensor, Weight, BranchLoss]
    if "computed_loss(" in texts:
        found.append(computed_loss)
    if "loss_and_parts(" in texts:
        found += [objectives.forget_added_losses, objectives.loss_and_parts]
    if "in_inference(" in texts:
        found += [inference._inferring, inference.in_inference]
    if "averaged." in texts:
        found.append(Average)
    if "gradients_at(" in texts:
        found += [ascending.climb, ascending.gradients_at]
    if "clipped_sums(" in texts:
        found += per_example.called(texts)
    if "skipped.count(" in texts:
        found += [skipping.all_finite, skipping.Skipped]
    if "at_rate(" in texts:
        found += [rates._rated, rates.at_rate]
    if any(isinstance(s.optimizer, OptimizerGroups) for s in steps.plan.substeps):
        found.append(Groups)
    if "accumulated." in texts:
        found.append(Accumulation)
    if "update_if(" in texts:
        found.append(update_if)
    if "unscaled(" in texts:
        found.append(gradient_treatment.unscaled)
    if "keep_overflow" in texts:
        found.append(gradient_treatment.keep_overflow)
    if "repeat(" in texts:
        found.append(_repeat)
    if steps.ground.statistics:
        found += [graph_state._variable, statistics_of, graph_state.Statistics]
    return found


def _value_of(expressions: Mapping[str, Any], progress: Any, key: str) -> Any:
    return expressions[key].evaluate(progress)


def _takes_training(function: Any) -> bool:
    """Whether `fit` would say ``training=``: where a parameter is called that, not any keyword."""
    return "training" in inspect.signature(function).parameters


def _repeat(times: int, run: Callable[[], Any], first: Any) -> Any:
    """What the last of `times` more runs gave, after one that gave `first`: its loss."""
    return tf.while_loop(
        lambda done, loss: done < times,
        lambda done, loss: (done + 1, run()),
        (tf.constant(0), first),
        parallel_iterations=1,
    )[1]


def _execute(source: str, name: str, namespace: Mapping[str, Any]) -> Callable[..., Any]:
    """Defines the function in `source`, so that tracebacks and debuggers can show its lines."""
    filename = f"{GENERATED}{name} {next(_serial)}>"
    lines = source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)
    scope: dict[str, Any] = {"tf": tf, **namespace}
    exec(compile(source, filename, "exec"), scope)
    function: Callable[..., Any] = scope[name]
    # No longer than the function, which a traceback holds: a search makes thousands of models.
    # TensorFlow may keep its code for longer, as where ops were made.
    weakref.finalize(function, linecache.cache.pop, filename, None)
    return function


def separated(steps: Steps) -> Steps:
    """The same steps without shared forward passes."""
    return Steps(
        steps.plan,
        steps.model,
        steps.state,
        optimize=False,
        optimizers=steps.optimizers,
        remembered=steps.remembered,
    )
