"""A config on a model as a stand-alone Python module, for users who outgrow the callback."""

from __future__ import annotations

import inspect
import re
from textwrap import indent, wrap
from typing import Any

import keras
import tensorflow as tf

from loopctl.compile import (
    Steps,
    called_by_source,
    layers_of,
    moved_lines,
    output_weights,
    step_loss,
    weighed_loss,
)
from loopctl.config import (
    Action,
    ConfigError,
    OptimizerGroups,
    Substep,
    serialized,
)
from loopctl.look import export_template
from loopctl.look.export_objects import Things

# What every module begins with.
_HELPERS = (export_template.Column, export_template.When, export_template.Trainer)

_HEADER = '''"""The train step of {name!r} under control, exported by loopctl and independent of it.

    from {module} import make_trainer

    model = ...  # built and compiled like the one this was exported from
    trainer = make_trainer(model)
    trainer.fit(batches, epochs=10)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
{imports}'''


def module_text(compiled: Steps, module: str) -> str:
    """The text of a module that defines ``make_trainer(model)``.

    Args:
        compiled: steps without shared forward passes.
        module: its name, for its docstring.

    Raises:
        ConfigError: the config holds what has no dotted name, or trains several replicas, or
            reads of validations.
    """
    if compiled.ground.replicas > 1:
        raise ConfigError("an exported train step is for one replica: this model has several")
    read = [s.name for p in compiled.plan.predicates for s in p.statistics if s.validated]
    if read:
        raise ConfigError(
            f"a graph predicate reads when.{read[0]}, but an exported module does not validate"
        )
    model = compiled.model
    writer = _Writer(model, compiled)
    body = writer.factories() + writer.trainer()
    parts = [export_template.Parts] if compiled.plan.has_parts else []
    called = [*_HELPERS, *parts, *called_by_source(compiled)]
    helpers = [*(inspect.getsource(h).rstrip() + "\n" for h in called), *writer.things.copied]
    imports = "".join(f"import {name}\n" for name in sorted(writer.things.imported))
    header = _HEADER.format(name=model.name, module=module, imports=imports)
    return "\n\n".join([header, *helpers, body])


class _Writer:
    """Writes the part of a module that its config decides, noting what has to be imported."""

    def __init__(self, model: keras.Model, compiled: Steps) -> None:
        self.model, self.steps = model, compiled
        self.things = Things()
        self.places = {id(v): i for i, v in enumerate(model.trainable_variables)}
        self.weights = {id(v): i for i, v in enumerate(model.weights)}
        self.layers = {id(layer): i for i, layer in enumerate(layers_of(model))}

    def factories(self) -> str:
        return "\n\n".join(map(self._factory, self.steps.plan.substeps))

    def _functions(self, substep: Substep) -> list[str]:
        """The names of a substep and of its repetition, if it has any."""
        names = (substep.name, f"{substep.name}_again")
        return [name for name in names if name in self.steps.source]

    def _factory(self, substep: Substep) -> str:
        names = self._functions(substep)
        text = "\n".join(self.steps.source[name] for name in names)
        weights = self.steps.selections[substep.name]
        lines = [
            f"def make_{substep.name}(model, optimizer, statistics{_counts(substep)}{self._more}):",
            *wrap(
                ", ".join(v.path for v in weights),
                88,
                initial_indent="    # ",
                subsequent_indent="    # ",
            ),
            f"    places = {[self.places[id(v)] for v in weights]}",
            "    weights = [model.trainable_variables[i] for i in places]",
            "    variables = [weight.value for weight in weights]",
            "    unpack_x_y_sample_weight = keras.utils.unpack_x_y_sample_weight",
        ]
        if substep.compiled and "compiled_loss(" in text:
            lines.append(
                "    compiled_loss = model._compile_loss  # Keras has no public name for it"
            )
        if "own_loss(" in text:
            where = substep.place("loss")
            if substep.loss_weights is None:
                arguments = [self._loss(substep.loss, where)]
                if (weights := output_weights(self.model, substep.loss, where)) is not None:
                    arguments.append(f"weights={self._weights(weights, where)}")
            else:
                loss, places = weighed_loss(substep.loss_weights, substep, self.model)
                arguments = [self._loss(loss, where), f"places={places!r}"]
            if outputs := getattr(self.model, "output_names", None):
                arguments.append(f"names={list(outputs)!r}")
            lines.append(f"    own_loss = BranchLoss({', '.join(arguments)})")
        if "floatx)" in text:
            lines.append("    floatx = keras.backend.floatx()")
        if not isinstance(substep.regularize, bool):
            chosen = [self.layers[id(layer)] for layer in self.steps.layers[substep.name] or ()]
            lines += [
                "    everything = model._flatten_layers(include_self=False, recursive=True)",
                f"    layers = [everything[i] for i in {chosen}]",
            ]
        if substep.inference is not False:
            inferring = self.steps.inferring[substep.name]
            chosen = [self.layers[id(layer)] for layer in inferring if layer is not self.model]
            lines += [
                "    everything = model._flatten_layers(include_self=False, recursive=True)",
                f"    inferring = [everything[i] for i in {chosen}]",
                *(["    inferring.append(model)"] if substep.inference is True else []),
            ]
            self.things.imported |= {"contextlib", "inspect"}
        if substep.loss_weights is not None:
            lines += self._weighed(substep)
        if substep.objective is not None:
            where = substep.place("objective")
            lines.append(f"    objective = {self.things.expression(substep.objective, where)}")
        if substep.accumulate > 1:
            lines.append(f"    accumulated = Accumulation({substep.accumulate}, weights)")
        if substep.noisy:
            lines.append("    noise = Noise()")
            self.things.imported.add("random")
        if substep.average is not None:
            lines += self._average(substep)
        if substep.learning_rate is not None:
            lines += self._rates(substep)
        if substep.expressions:
            lines += [
                "",
                "    def value_of(key):",
                f'        return values[f"{substep.name}_{{key}}"]',
                "",
            ]
        if callable(substep.ascend):
            lines.append(
                f"    ascend = {self.things.expression(substep.ascend, substep.place('ascend'))}"
            )
        if substep.gradients is not None:
            where = substep.place("gradients")
            lines.append(f"    transform = {self.things.expression(substep.gradients, where)}")
        return (
            "\n".join(lines) + "\n\n" + indent(text, "    ") + f"\n    return {', '.join(names)}\n"
        )

    @property
    def _more(self) -> str:
        """What makers of substeps are given besides, if any needs it."""
        plan = self.steps.plan
        needed = any(s.average is not None or s.expressions for s in plan.substeps)
        return ", values, averages" if needed else ""

    def _average(self, substep: Substep) -> list[str]:
        averaged = self.steps.remembered.averages[substep.name]

        def listed(weights: list[Any]) -> str:
            return f"[model.weights[i] for i in {[self.weights[id(v)] for v in weights]}]"

        lines = [f"    followed = {listed(averaged.weights)}"]
        into = ""
        if averaged.into is not None:
            lines.append(f"    followers = {listed(averaged.into)}")
            into = ", followers"
        lines.append(f"    averaged = Average({averaged.decay!r}, followed{into})")
        return [*lines, "    averages.append(averaged)"]

    @staticmethod
    def _weighed(substep: Substep) -> list[str]:
        weights = substep.loss_weights
        if weights is None or weights.names is None or substep.objective is None:
            lines = []
        else:
            lines = [f"    weighed = {list(weights.names)!r}"]
        for weight in () if weights is None else weights.weights:
            if isinstance(weight, keras.Variable | tf.Variable):
                raise ConfigError(
                    f"{substep.place('loss_weights')} has the variable {weight.name!r}: an "
                    "exported module only supports numbers, including when.linear(0, 1, over=1000)"
                )
        return lines

    def _rates(self, substep: Substep) -> list[str]:
        self.things.imported |= {"contextlib"}
        rate = substep.learning_rate.rate if substep.learning_rate else None
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            form = serialized(rate, substep.place("learning_rate"))
            return [f"    schedule = keras.optimizers.schedules.deserialize({form!r})"]
        chosen = [[self.places[id(v)] for v in group] for group in self.steps.groups[substep.name]]
        if not chosen:
            return []
        return [
            f"    groups = [[model.trainable_variables[i] for i in group] for group in {chosen}]"
        ]

    def _loss(self, loss: Any, where: str) -> str:
        if isinstance(loss, dict):
            parts = (
                f"{key!r}: {self._loss(one, f'{where}[{key!r}]')}" for key, one in loss.items()
            )
            return f"{{{', '.join(parts)}}}"
        if isinstance(loss, list | tuple):
            return f"[{', '.join(self._loss(one, f'{where}[{i}]') for i, one in enumerate(loss))}]"
        if loss is None or isinstance(loss, str):
            return repr(loss)
        if isinstance(loss, keras.losses.Loss):
            return f"keras.losses.deserialize({serialized(loss, where)!r})"
        return self._function(loss, where)

    @staticmethod
    def _weights(weights: Any, where: str) -> str:
        if any(not isinstance(weight, int | float) for weight in keras.tree.flatten(weights)):
            raise ConfigError(
                f"{where} is weighed by variables that the model was compiled with: an exported "
                "module only supports numbers"
            )
        return repr(weights)

    def _function(self, function: Any, where: str) -> str:
        name = getattr(function, "__name__", "")
        if getattr(keras.losses, name, None) is function:
            return f"keras.losses.{name}"
        return self.things.expression(function, where)

    def trainer(self) -> str:
        plan = self.steps.plan
        conditions = [f"    {a.name!r}: {self._condition(a)}," for a in plan.actions]
        expressions = [
            f"    '{s.name}_{key}': {self._expression(expression)},"
            for s in plan.substeps
            for key, expression in s.expressions.items()
        ]
        optimizers = [line for s in plan.substeps for line in self._optimizer(s)]
        extra = ", EXPRESSIONS" if self._more else ""
        lines = [
            "",
            "CONDITIONS = {",
            *conditions,
            "}",
            *(["EXPRESSIONS = {", *expressions, "}"] if self._more else []),
            "",
            "",
            "def make_trainer(model: keras.Model) -> Trainer:",
            '    """A trainer of `model`, which is built and compiled."""',
            f"    return Trainer(model, CONDITIONS, make_step{extra})",
            "",
            "",
            f"def make_step(model, control_variables{self._more}):",
            '    """The train step ``data -> values``, of one batch."""',
            "    # Subsets are applied later: optimizers must know every variable from the start.",
            "    if not model.optimizer.built:",
            "        model.optimizer.build(model.trainable_variables)",
            *optimizers,
            f"    statistics = {'Statistics(model)' if self.steps.ground.statistics else None}",
            *(["    parts = Parts()"] if plan.has_parts else []),
            *(f"    {name}_skipped = Skipped()" for name in plan.skipping),
        ]
        for substep in plan.substeps:
            counts = f", {substep.action}_skipped" if substep.skip_nonfinite else ""
            arguments = f"model, {substep.name}_optimizer, statistics{counts}{self._more}"
            made = ", ".join(self._functions(substep))
            lines.append(f"    {made} = make_{substep.name}({arguments})")
        lines += ["", "    def step(data):", *self._step(), "", "    return step", ""]
        return "\n".join(lines)

    def _step(self) -> list[str]:
        plan, lines = self.steps.plan, []
        gated = "statistics.moved" in self.steps.source["main_step"]
        if gated:
            lines.append("        statistics.moved.assign(False)")
        for action in plan.actions:
            control = f"control_variables[{action.name!r}]"
            lines += [
                f"        loss_{action.name} = tf.cond(",
                f"            {control},",
                *(f"            lambda: {self._branch(s)}," for s in (action.on, action.off)),
                "        )",
            ]
            if gated:
                lines += [f"        {line}" for line in moved_lines(action, "control_variables")]
        names = [action.name for action in plan.actions]
        loss = step_loss(plan, "control_variables")
        values = ", ".join(f"'loss_{name}': loss_{name}" for name in names)
        values += "".join(
            f", 'skipped_{name}': {name}_skipped.updates.read_value()" for name in plan.skipping
        )
        parts = ", **parts.taken()" if plan.has_parts else ""
        lines += [
            "        states = {k: tf.identity(state) for k, state in control_variables.items()}",
            "        metrics = model.get_metrics_result()",
            f"        return {{**metrics, 'loss': {loss}, {values}{parts}, **states}}",
        ]
        return lines

    @staticmethod
    def _branch(substep: Substep | None) -> str:
        if substep is None:
            return "tf.constant(float('nan'))"
        run, again = f"{substep.name}(model, data)", f"{substep.name}_again(model, data)"
        if substep.objective is None:
            run, again = f"tf.cast({run}, tf.float32)", f"tf.cast({again}, tf.float32)"
        if substep.repeat > 1:
            run = f"_repeat({substep.repeat - 1}, lambda: {again}, {run})"
        return run if substep.objective is None else f"parts.of({substep.action!r}, {run})"

    def _condition(self, action: Action) -> str:
        if action.predicate is None:
            return self.things.expression(action.cond, f'config["{action.name}"]["cond"]')
        return self._expression(action.predicate)

    @staticmethod
    def _expression(expression: Any) -> str:
        text = re.sub(r"\bwhen\.", "When(trainer).", repr(expression))
        return f"lambda trainer: {text}"

    def _optimizer(self, substep: Substep) -> list[str]:
        """Lines that make a substep's optimizer, or take that of an earlier one."""
        optimizers, name = self.steps.optimizers, f"{substep.name}_optimizer"
        optimizer = optimizers.of(substep)
        grouped = isinstance(substep.optimizer, OptimizerGroups)
        if hasattr(optimizer, "optimizers") and not grouped:
            raise ConfigError(
                f"{substep.place()} is trained by an optimizer of several optimizers: an exported "
                "module can't apply that to some of its variables"
            )
        if optimizer is optimizers.compiled:
            return [f"    {name} = model.optimizer"]
        served = [s for s in self.steps.plan.substeps if optimizers.of(s) is optimizer]
        if served[0] is not substep:
            return [f"    {name} = {served[0].name}_optimizer"]
        if any(part.use_ema for part in optimizers.parts(substep)):
            raise ConfigError(
                f"{substep.place('optimizer')} averages weights (use_ema=True): an exported module "
                "does that with the compiled optimizer only"
            )
        where = substep.place("optimizer")
        places = sorted({self.places[id(v)] for s in served for v in self.steps.selections[s.name]})
        if grouped:
            made = self._optimizers(substep, where)
        else:
            made = f"keras.optimizers.deserialize({serialized(optimizer, where)!r})"
        return [
            f"    {name} = {made}",
            f"    {name}.build([model.trainable_variables[i] for i in {places}])",
        ]

    def _optimizers(self, substep: Substep, where: str) -> str:
        """Expression of the optimizers of groups, as one."""
        inner = self.steps.optimizers.inner(substep)
        forms = [serialized(part, where) for part in inner.optimizers]
        made = ", ".join(f"keras.optimizers.deserialize({form!r})" for form in forms)
        places = [[self.places[id(v)] for v in group] for group in inner.groups]
        groups = f"[[model.trainable_variables[i] for i in group] for group in {places}]"
        text = f"Groups([{made}], {groups})"
        scales = inner is not self.steps.optimizers.of(substep)
        return f"keras.optimizers.LossScaleOptimizer({text})" if scales else text


def _counts(substep: Substep) -> str:
    return ", skipped" if substep.skip_nonfinite else ""
