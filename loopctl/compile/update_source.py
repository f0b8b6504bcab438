"""The part of a substep's source from the tape to the optimizer: gradients, treatment, update."""

from __future__ import annotations

from typing import Any

from loopctl.compile.source_ground import Ground, indented
from loopctl.config import Number, Substep, rate_key

_EACH = "for gradient in gradients]"


def update_lines(substep: Substep, ground: Ground, prefix: str = "") -> list[str]:
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
    if substep.accumulate > 1:
        return lines + _accumulated(substep, ground)
    treatment = _treatment(substep, ground, prefix)
    if treatment:
        lines += ["if gradients:", *indented([_DENSE, *treatment], 1)]
    return lines + _apply(substep, prefix)


def _apply(substep: Substep, prefix: str = "") -> list[str]:
    """The update itself, and what follows it."""
    lines = _at_rate(substep, [f"{prefix}optimizer.apply(gradients, trained)"], prefix)
    if substep.average is not None:
        start = substep.average.start
        if start is None:
            lines.append(f"{prefix}averaged.follow()")
        else:
            lines.append(f"# {start!r}")
            lines.append(f"{prefix}averaged.follow({prefix}value_of('average'))")
    return lines


def _at_rate(substep: Substep, lines: list[str], prefix: str) -> list[str]:
    """`lines`, at the learning rates of a substep if it has any of its own."""
    rates = substep.learning_rate
    if rates is None:
        return lines
    told = [f"# {key}: {one!r}" for key, one in rates.expressions.items()]

    def value(key: str, given: Any) -> str:
        if isinstance(given, Number):
            return f"{prefix}value_of({key!r})"
        return repr(given) if isinstance(given, float) else f"{prefix}schedule"

    if rates.factors:
        factors = ", ".join(value(rate_key(i), one) for i, (_, one) in enumerate(rates.factors))
        rate = f"factors=zip({prefix}groups, [{factors}])"
    else:
        rate = value("learning_rate", rates.rate)
    return [*told, f"with at_rate({prefix}optimizer, {rate}):", *indented(lines, 1)]


_DENSE = f"gradients = [tf.convert_to_tensor(gradient) {_EACH}"


def _accumulated(substep: Substep, ground: Ground) -> list[str]:
    """The gradients of several train steps, then one update by their mean."""
    scale = ground.scaling.get(substep.name)
    unscaled = []
    if scale is not None:
        unscaled = [
            f"scale = tf.convert_to_tensor({scale})",
            f"gradients = [gradient / scale {_EACH}",
        ]
    return [
        "",
        "def update(gradients):",
        '    """Of the mean over the steps, which are forgotten."""',
        "    accumulated.clear()",
        *indented(_treatment(substep, ground, "", unscaled=True), 1),
        *indented(_apply(substep), 1),
        "",
        "if gradients:",
        *indented([_DENSE, *unscaled], 1),
        "    due = accumulated.add(gradients, reached)",
        "    update_if(due, update, accumulated.mean(reached))",
    ]


def _treatment(substep: Substep, ground: Ground, prefix: str, unscaled: bool = False) -> list[str]:
    """What is done to dense gradients before the optimizer; `unscaled`: of any loss scale."""
    scale = ground.scaling.get(substep.name) if substep.treats or unscaled else None
    clips = substep.name in ground.clipping and ground.replicas > 1
    if not substep.treats and not clips and scale is None:
        return []
    lines = []
    if ground.replicas > 1:
        lines.append("gradients = tf.distribute.get_replica_context().all_reduce('SUM', gradients)")
    if scale is not None:
        lines.append(f"scale, scaled = tf.convert_to_tensor({prefix}{scale}), gradients")
        lines += [] if unscaled else [f"gradients = [gradient / scale {_EACH}"]
    if substep.gradients is not None:
        lines.append(f"gradients = {prefix}transform(gradients, trained)")
    lines += _clip(substep)
    if clips:
        lines.append(f"gradients = {prefix}clip_as_optimizer(gradients)")
    if scale is not None:
        lines.append(f"gradients = [gradient * scale {_EACH}")
        lines.append("# An overflow has to stay one: the optimizer skips the step then.")
        lines.append("gradients = [keep_overflow(*pair) for pair in zip(gradients, scaled)]")
    if ground.replicas > 1:
        lines.append("# The optimizer sums over the replicas once more.")
        lines.append(f"gradients = [gradient / {ground.replicas} {_EACH}")
    return lines


def _clip(substep: Substep) -> list[str]:
    clipping = substep.clipping
    if clipping is None:
        return []
    if clipping.kind == "value":
        bounds = f"{clipping.lower!r}, {clipping.upper!r}"
        return [f"gradients = [tf.clip_by_value(gradient, {bounds}) {_EACH}"]
    if clipping.kind == "norm":
        return [f"gradients = [tf.clip_by_norm(gradient, {clipping.upper!r}) {_EACH}"]
    return [f"gradients, _ = tf.clip_by_global_norm(gradients, {clipping.upper!r})"]
