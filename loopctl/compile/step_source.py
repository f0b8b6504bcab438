"""Plan -> readable Python source of the substeps and of the main step (thesis, appendix C).

The text is what runs. Values (losses, variables, strategy) are bound in its namespace by
`compiled_steps`; only identifiers that the config's rules admitted and plain numbers are written
into it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from textwrap import indent

from loopctl.config import Action, ControlPlan, Substep, place


@dataclasses.dataclass(frozen=True)
class Ground:
    """What the text depends on besides the plan.

    Args:
        replicas: among which a global batch is split.
        training: the model's call accepts ``training=``.
        computes: the model has a ``compute_loss`` of its own.
        computes_training: which accepts ``training=``.
        compiled: the model was compiled with a loss.
        statistics: the model has moving statistics.
        scaling: of substeps' losses, by name: ``optimizer.dynamic_scale`` or a number.
        clipping: names of substeps whose optimizer clips by itself.
        accumulating: names of substeps that share an optimizer which accumulates gradients.
        share: whether branches that can share a forward pass do.
    """

    replicas: int
    training: bool
    computes: bool
    computes_training: bool
    compiled: bool
    statistics: bool
    scaling: Mapping[str, str]
    clipping: frozenset[str]
    accumulating: frozenset[str]
    share: bool

    def shares(self, action: Action) -> bool:
        """Whether an action's branches share a forward pass.

        Not among several replicas: inside one, an optimizer can't be called under a condition.
        """
        return self.share and self.replicas == 1 and action.shares_forward


def substep_source(
    substep: Substep,
    ground: Ground,
    *,
    measures: bool,
    statistics: bool | None,
    again: bool = False,
) -> str:
    """Source of ``<action>_on(self, data)`` or ``_off``: one forward and backward pass.

    Args:
        measures: update the model's metrics.
        statistics: move the model's statistics; None: unless they have moved in this train step.
        again: a repetition.
    """
    name = f"{substep.name}_again" if again else substep.name
    lines = [
        f"def {name}(self, data):",
        f'    """Substep of {_quoted(substep.place())}."""',
        "    x, y, sample_weight = unpack_x_y_sample_weight(data)",
        "    with tf.GradientTape(watch_accessed_variables=False) as tape:",
        "        for variable in variables:",
        "            tape.watch(variable)",
        *_indented(_forward(ground, [substep], statistics), 2),
        *_indented(_data_loss(substep, ground), 2),
        *_indented(_whole_loss(substep, ground), 2),
        *_indented(_update(substep, ground), 1),
        *_indented(_measure(ground, measures, statistics), 1),
        "    return loss",
    ]
    return "\n".join(lines) + "\n"


def shared_source(
    action: Action, ground: Ground, *, measures: bool, statistics: bool | None
) -> str:
    """Source of ``<action>_shared(self, data)``: one forward pass for both branches.

    Each branch has a backward pass of its own, by its own variables.
    """
    on, off = action.substeps
    lines = [
        f"def {action.name}_shared(self, data):",
        f'    """Substeps of {_quoted(place(action.name))}, which share a forward pass."""',
        "    x, y, sample_weight = unpack_x_y_sample_weight(data)",
        "    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:",
        "        for variable in on_variables + off_variables:",
        "            tape.watch(variable)",
        *_indented(_forward(ground, [on, off], statistics), 2),
        *_indented(_data_loss(on, ground), 2),
        *_indented(_whole_loss(on, ground, "on_"), 2),
        *_indented(_whole_loss(off, ground, "off_"), 2),
    ]
    for substep, prefix in ((on, "on_"), (off, "off_")):
        lines += [
            "",
            f"    def {substep.name}():",
            *_indented(_update(substep, ground, prefix), 2),
            f"        return {prefix}loss",
        ]
    lines += [
        "",
        f"    loss = tf.cond(self.control_variables[{action.name!r}], {on.name}, {off.name})",
        *_indented(_measure(ground, measures, statistics), 1),
        "    return loss",
    ]
    return "\n".join(lines) + "\n"


def _forward(ground: Ground, substeps: list[Substep], statistics: bool | None) -> list[str]:
    """Prediction and, where a substep wants them, the terms that layers add to a loss."""
    lines = [f"y_pred = self(x{', training=True' if ground.training else ''})"]
    for substep in substeps:
        if substep.regularize:
            prefix = _prefix(substep, substeps)
            if substep.regularize is True:
                lines.append(f"{prefix}terms = self.losses")
            else:
                lines.append(
                    f"{prefix}terms = [term for layer in {prefix}layers for term in layer.losses]"
                )
    if statistics is True or not ground.statistics:
        return lines
    return [
        "# Moving statistics belong to the train step, not to each of its substeps.",
        "with keras.StatelessScope(statistics.weights(), collect_losses=True) as scope:",
        *_indented(lines, 1),
    ]


def _prefix(substep: Substep, substeps: list[Substep]) -> str:
    if len(substeps) == 1:
        return ""
    return "on_" if substep.branch else "off_"


def _data_loss(substep: Substep, ground: Ground) -> list[str]:
    if substep.compiled and ground.computes:
        training = ", training=True" if ground.computes_training else ""
        return [f"loss = computed_loss(self, x, y, y_pred, sample_weight{training})"]
    if substep.compiled and ground.compiled:
        return ["loss = compiled_loss(y, y_pred, sample_weight)"]
    if substep.loss is not None:
        return ["loss = own_loss(y, y_pred, sample_weight)"]
    return ["loss = tf.zeros((), floatx)"]


def _whole_loss(substep: Substep, ground: Ground, prefix: str = "") -> list[str]:
    lines = []
    if substep.regularize:
        share = f" / {ground.replicas}" if ground.replicas > 1 else ""
        term = f"tf.cast(term, loss.dtype){share} for term in {prefix}terms"
        lines.append(f"{prefix}loss = sum(({term}), loss)")
    elif prefix:
        lines.append(f"{prefix}loss = loss")
    lines.append(f"{prefix}scaled_loss = {prefix}optimizer.scale_loss({prefix}loss)")
    return lines


def _update(substep: Substep, ground: Ground, prefix: str = "") -> list[str]:
    """Backward pass, treatment of the gradients, optimizer."""
    zero, lines = "", []
    if substep.name in ground.accumulating and substep.has_loss:
        zero = ", unconnected_gradients=tf.UnconnectedGradients.ZERO"
        lines.append("# Accumulated gradients are lost of what an update does not mention.")
    lines += [
        f"gradients = tape.gradient({prefix}scaled_loss, {prefix}variables{zero})",
        "# A variable that the loss does not depend on has no gradient and is left alone.",
        "reached = [i for i, gradient in enumerate(gradients) if gradient is not None]",
        "gradients = [gradients[i] for i in reached]",
        f"trained = [{prefix}weights[i] for i in reached]",
    ]
    treatment = _treatment(substep, ground, prefix)
    if treatment:
        lines += ["if gradients:", *_indented(treatment, 1)]
    lines.append(f"{prefix}optimizer.apply(gradients, trained)")
    return lines


def _treatment(substep: Substep, ground: Ground, prefix: str) -> list[str]:
    scale = ground.scaling.get(substep.name) if substep.treats else None
    clips = substep.name in ground.clipping and ground.replicas > 1
    if not substep.treats and not clips:
        return []
    each = "for gradient in gradients]"
    lines = [f"gradients = [tf.convert_to_tensor(gradient) {each}"]
    if ground.replicas > 1:
        lines.append("gradients = tf.distribute.get_replica_context().all_reduce('SUM', gradients)")
    if scale is not None:
        lines.append(f"scale, scaled = tf.convert_to_tensor({prefix}{scale}), gradients")
        lines.append(f"gradients = [gradient / scale {each}")
    if substep.gradients is not None:
        lines.append(f"gradients = {prefix}transform(gradients, trained)")
    lines += _clip(substep, each)
    if clips:
        lines.append(f"gradients = {prefix}clip_as_optimizer(gradients)")
    if scale is not None:
        lines.append(f"gradients = [gradient * scale {each}")
        lines.append("# An overflow has to stay one: the optimizer skips the step then.")
        lines.append("gradients = [keep_overflow(*pair) for pair in zip(gradients, scaled)]")
    if ground.replicas > 1:
        lines.append("# The optimizer sums over the replicas once more.")
        lines.append(f"gradients = [gradient / {ground.replicas} {each}")
    return lines


def _clip(substep: Substep, each: str) -> list[str]:
    clipping = substep.clipping
    if clipping is None:
        return []
    if clipping.kind == "value":
        bounds = f"{clipping.lower!r}, {clipping.upper!r}"
        return [f"gradients = [tf.clip_by_value(gradient, {bounds}) {each}"]
    if clipping.kind == "norm":
        return [f"gradients = [tf.clip_by_norm(gradient, {clipping.upper!r}) {each}"]
    return [f"gradients, _ = tf.clip_by_global_norm(gradients, {clipping.upper!r})"]


def _measure(ground: Ground, measures: bool, statistics: bool | None) -> list[str]:
    lines = []
    if ground.statistics and statistics is not True:
        settle = "settle" if statistics is False else "settle_once"
        lines.append(f"statistics.{settle}(scope)")
    if measures:
        lines.append("self.compute_metrics(x, y, y_pred, sample_weight)")
    return lines


def main_step_source(plan: ControlPlan, ground: Ground) -> str:
    """Source of ``main_step(self, data)``: every action's branch, then what the step reports.

    Branching happens around ``strategy.run``, in the cross-replica context: inside a replica an
    optimizer can't be called under a condition.
    """
    lines = [
        "def main_step(self, data):",
        '    """One train step: each action runs the substep that its control variable chooses."""',
        "    samples = count_samples(strategy, data)",
    ]
    for action in plan.actions:
        if action.predicate is not None:
            name = repr(action.name)
            lines += [
                f"    # {action.predicate!r}",
                f"    self.control_variables[{name}].assign(predicates[{name}].evaluate(progress))",
            ]
    gated = ground.statistics and any(plan.moves_statistics(s) is None for s in plan.substeps)
    if gated:
        lines.append("    statistics.moved.assign(False)")
    for action in plan.actions:
        lines += _indented(_action(plan, ground, action), 1)
        if gated:
            control = f"self.control_variables[{action.name!r}]"
            ran = "True" if len(action.substeps) == 2 else control if action.on else f"~{control}"
            lines.append(f"    statistics.moved.assign(statistics.moved | {ran})")
    names = [action.name for action in plan.actions]
    lines += [
        "    metrics = metrics_of(self, plan)",
        "    losses = {" + ", ".join(f"'loss_{name}': loss_{name}" for name in names) + "}",
        "    states = {name: tf.identity(state) for name, state in self.control_variables.items()}",
        *_indented(_step_loss(plan), 1),
        "    values = {**metrics, 'loss': loss, **losses, **states}",
    ]
    if plan.predicates:
        lines.append("    progress.advance(values)")
    lines.append("    return values")
    return "\n".join(lines) + "\n"


def step_loss(plan: ControlPlan, controls: str = "self.control_variables") -> str:
    """Expression of a step's `loss`: that of the first action that ran, NaN if none did."""
    *before, last = plan.reporting
    expression = f"loss_{last.name}"
    for action in reversed(before):
        expression = f"tf.where({_ran(action, controls)}, loss_{action.name}, {expression})"
    return expression


def _ran(action: Action, controls: str = "self.control_variables") -> str:
    """Expression of whether an action with one branch has run."""
    return f"{'' if action.on else '~'}{controls}[{action.name!r}]"


def _step_loss(plan: ControlPlan) -> list[str]:
    lines = [f"loss = {step_loss(plan)}"]
    if len(plan.reporting) > 1:
        ran = " | ".join(f"tf.identity({_ran(action)})" for action in plan.reporting)
        arguments = "loss, samples" if plan.always_runs else f"loss, samples, {ran}"
        lines.append(f"epoch_means['loss'].update({arguments})")
    return lines


def logs_source(plan: ControlPlan) -> str:
    """Source of ``logs(self, values)``: what ``fit`` logs of the last step's values."""
    names = [action.name for action in plan.actions]
    loss = f"epoch_means[{'loss' if len(plan.reporting) > 1 else names[0]!r}]"
    means = ", ".join(f"'loss_{name}': epoch_means[{name!r}].result()" for name in names)
    lines = [
        "def logs(self, values):",
        '    """Losses as means over the epoch; metrics are that already."""',
        f"    means = {{{means}}}",
        f"    return {{**values, 'loss': {loss}.result(), **means}}",
    ]
    return "\n".join(lines) + "\n"


def _action(plan: ControlPlan, ground: Ground, action: Action) -> list[str]:
    result, mean = f"loss_{action.name}", f"epoch_means[{action.name!r}]"
    if ground.shares(action):
        run = f"total(strategy.run({action.name}_shared, args=(data,)))"
        return [f"{result} = {mean}.update({run}, samples)"]
    return [
        f"{result} = tf.cond(",
        f"    self.control_variables[{action.name!r}],",
        *(
            f"    lambda: {_branch(plan, ground, substep, mean)},"
            for substep in (action.on, action.off)
        ),
        ")",
    ]


def _branch(plan: ControlPlan, ground: Ground, substep: Substep | None, mean: str) -> str:
    if substep is None:
        return "idle"
    run = f"total(strategy.run({substep.name}, args=(data,)))"
    if substep.repeat > 1:
        again = f"{substep.name}_again"
        more = f"lambda: total(strategy.run({again}, args=(data,)))"
        run = f"repeat({substep.repeat - 1}, {more}, {run})"
    return f"{mean}.update({run}, samples)"


def _quoted(place: str) -> str:
    return place.replace('"', "'")


def _indented(lines: list[str], levels: int) -> list[str]:
    return [indent(line, "    " * levels) for line in lines]
