"""Plan -> readable Python source of the substeps and of the main step (thesis, appendix C).

The text is what runs. Values (losses, variables, strategy) are bound in its namespace by
`loopctl.steps`; only identifiers that the config's rules admitted and plain numbers are written
into it.
"""

from __future__ import annotations

from loopctl.plan import Action, ControlPlan, Substep


def substep_source(substep: Substep, *, measures: bool, replicas: int, training: bool) -> str:
    """Source of ``<action>_on(self, data)`` or ``_off``: one forward and backward pass.

    Args:
        measures: update the model's metrics.
        replicas: among which a global batch is split; each adds its share of the regularisation.
        training: the model's call accepts ``training=``.
    """
    lines = [
        f"def {substep.name}(self, data):",
        f'    """Substep of {substep.place()}."""'.replace('["', "['").replace('"]', "']"),
        "    x, y, sample_weight = unpack_x_y_sample_weight(data)",
        "    with tf.GradientTape(watch_accessed_variables=False) as tape:",
        "        for variable in variables:",
        "            tape.watch(variable)",
        f"        y_pred = self(x{', training=True' if training else ''})",
    ]
    if substep.compiled:
        lines.append("        loss = compiled_loss(y, y_pred, sample_weight)")
    elif substep.loss is not None:
        lines.append("        loss = own_loss(y, y_pred, sample_weight)")
    else:
        lines.append("        loss = tf.zeros((), floatx)")
    if substep.regularize and replicas == 1:
        lines.append("        loss = sum(self.losses, loss)")
    elif substep.regularize:
        lines.append(f"        loss = sum((term / {replicas} for term in self.losses), loss)")
    lines += [
        "        scaled_loss = self.optimizer.scale_loss(loss)",
        "    gradients = tape.gradient(scaled_loss, variables)",
        "    # A variable that the loss does not depend on has no gradient and is left alone.",
        "    reached = [i for i, gradient in enumerate(gradients) if gradient is not None]",
        "    gradients = [gradients[i] for i in reached]",
    ]
    if substep.clipping is not None:
        lower, upper = substep.clipping
        lines.append(
            f"    gradients = [tf.clip_by_value(gradient, {lower!r}, {upper!r})"
            " for gradient in gradients]"
        )
    lines.append("    self.optimizer.apply(gradients, [weights[i] for i in reached])")
    if measures:
        lines.append("    self.compute_metrics(x, y, y_pred, sample_weight)")
    lines.append("    return loss")
    return "\n".join(lines) + "\n"


def main_step_source(plan: ControlPlan) -> str:
    """Source of ``main_step(self, data)``: every action's branch, then what the step reports.

    Branching happens around ``strategy.run``, in the cross-replica context: inside a replica an
    optimizer can't be called under a condition.
    """
    lines = [
        "def main_step(self, data):",
        '    """One train step: each action runs the substep that its control variable chooses."""',
        "    samples = count_samples(data)",
    ]
    for action in plan.actions:
        lines += [
            f"    loss_{action.name} = tf.cond(",
            f"        self.control_variables[{action.name!r}],",
            f"        {_branch(action, action.on)},",
            f"        {_branch(action, action.off)},",
            "    )",
        ]
    first = plan.actions[0].name
    names = [action.name for action in plan.actions]
    lines += [
        "    metrics = metrics_of(self, plan)",
        "    losses = {" + ", ".join(f"'loss_{name}': loss_{name}" for name in names) + "}",
        "    means = {"
        + ", ".join(f"'loss_{name}': epoch_means[{name!r}].result()" for name in names)
        + "}",
        "    states = {name: tf.identity(state) for name, state in self.control_variables.items()}",
        f"    values = {{**metrics, 'loss': loss_{first}, **losses, **states}}",
        f"    logs = {{**metrics, 'loss': means['loss_{first}'], **means, **as_numbers(states)}}",
        "    return values, logs",
    ]
    return "\n".join(lines) + "\n"


def _branch(action: Action, substep: Substep | None) -> str:
    if substep is None:
        return "lambda: idle"
    run = f"strategy.run({substep.name}, args=(data,))"
    return f"lambda: epoch_means[{action.name!r}].update({run}, samples)"
