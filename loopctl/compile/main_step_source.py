"""Source of the main step, which chooses among substeps, and of what `fit` logs of it."""

from __future__ import annotations

from loopctl.compile.source_ground import Ground, indented
from loopctl.config import Action, ControlPlan, Substep


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
        lines += indented(_action(plan, ground, action), 1)
        if gated:
            lines += indented(moved_lines(action), 1)
    names = [action.name for action in plan.actions]
    parts = ", **parts" if plan.has_parts else ""
    left_out = "".join(
        f", 'skipped_{name}': skipped[{name!r}].updates.read_value()" for name in plan.skipping
    )
    lines += [
        f"    metrics = metrics_of(self, plan{', traced=True' if parts else ''})",
        "    losses = {" + ", ".join(f"'loss_{name}': loss_{name}" for name in names) + "}",
        "    states = {name: tf.identity(state) for name, state in self.control_variables.items()}",
        *indented(_step_loss(plan), 1),
        *(["    parts = reported.values(metrics)"] if parts else []),
        f"    values = {{**metrics, 'loss': loss, **losses{parts}{left_out}, **states}}",
    ]
    if plan.predicates:
        lines.append("    progress.advance(values)")
    lines.append("    return values")
    return "\n".join(lines) + "\n"


def moved_lines(action: Action, controls: str = "self.control_variables") -> list[str]:
    """Notes whether an action has moved the statistics, where only the graph can tell."""
    if not action.moving:
        return []
    control = f"{controls}[{action.name!r}]"
    ran = control if action.moving[0].branch else f"~{control}"
    ran = "True" if len(action.moving) == 2 else ran
    return [f"statistics.moved.assign(statistics.moved | {ran})"]


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
    parts = ", **reported.means()" if plan.has_parts else ""
    lines = [
        "def logs(self, values):",
        '    """Losses as means over the epoch; metrics are that already."""',
        f"    means = {{{means}}}",
        f"    return {{**values, 'loss': {loss}.result(), **means{parts}}}",
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
    if substep.objective is not None:
        run = f"reported.of({substep.action!r}, {run}, samples)"
    return f"{mean}.update({run}, samples)"
