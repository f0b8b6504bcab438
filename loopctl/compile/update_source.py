"""The part of a substep's source from the tape to the optimizer: gradients, treatment, update."""

from __future__ import annotations

from typing import Any

from loopctl.compile.source_ground import DYNAMIC, Ground, indented
from loopctl.config import Number, Substep, rate_key

_EACH = "for gradient in gradients]"


def update_lines(substep: Substep, ground: Ground, prefix: str = "") -> list[str]:
    """Backward pass, treatment of the gradients, optimizer."""
    zero, lines = "", []
    if substep.per_example is not None:
        lines = _of_examples(substep, ground)
    elif substep.name in ground.accumulating and substep.has_loss:
        zero = ", unconnected_gradients=tf.UnconnectedGradients.ZERO"
        lines.append("# Accumulated gradients are lost of what an update does not mention.")
    if substep.per_example is None:
        lines.append(f"gradients = tape.gradient({prefix}scaled_loss, {prefix}variables{zero})")
    lines += [
        "# A variable that the loss does not depend on has no gradient and is left alone.",
        "reached = [i for i, gradient in enumerate(gradients) if gradient is not None]",
        "gradients = [gradients[i] for i in reached]",
        f"trained = [{prefix}weights[i] for i in reached]",
    ]
    if substep.ascend is not None:
        lines += ["if gradients:", *indented([_DENSE, *_ascent(substep, ground)], 1)]
    if substep.accumulate > 1:
        return lines + _accumulated(substep, ground)
    treatment = _treatment(substep, ground, prefix)
    if substep.skip_nonfinite:
        whole = [_DENSE, *treatment, *_apply_finite(substep, ground)]
        return [*lines, "if gradients:", *indented(whole, 1)]
    if treatment:
        lines += ["if gradients:", *indented([_DENSE, *treatment], 1)]
    return lines + _apply(substep, prefix)


def _of_examples(substep: Substep, ground: Ground) -> list[str]:
    """The mean of the gradients of all examples, each clipped, with noise."""
    per_example = substep.per_example
    if per_example is None:
        return []

    def value(key: str, given: Any) -> str:
        return f"value_of({key!r})" if isinstance(given, Number) else repr(given)

    lines = [f"# {key}: {one!r}" for key, one in per_example.expressions.items()]
    lines.append(f"clip = {value('clip', per_example.clip)}")
    scaled = ""
    if (scale := ground.scaling.get(substep.name)) is not None:
        lines.append(f"scale = tf.convert_to_tensor({scale})")
        scaled = ", scale"
    lines.append(f"sums = clipped_sums(loss_of, self, data, weights, clip{scaled})")
    if per_example.noisy:
        steps = ""
        if substep.accumulate > 1:
            lines.append("# Variances add up: all steps of an update have that of one.")
            steps = f", {substep.accumulate}"
        lines.append(f"sums = noise.add(sums, {value('noise', per_example.noise)} * clip{steps})")
    lines.append(f"gradients = means(sums, examples_in(data), weights{scaled})")
    if substep.regularize:
        lines += [
            "# Regularisation is of no example: it is neither clipped nor blurred.",
            "gradients = added(gradients, tape.gradient(scaled_penalty, variables))",
        ]
    if substep.name in ground.accumulating:
        lines += [
            "# Accumulated gradients are lost of what an update does not mention.",
            "zeros = [tf.zeros(variable.shape, variable.dtype) for variable in variables]",
            "gradients = added(gradients, zeros)",
        ]
    return lines


def _ascent(substep: Substep, ground: Ground) -> list[str]:
    """Gradients at other weights: of all replicas, free of a loss scale, they say where."""
    lines = []
    if ground.replicas > 1:
        lines.append("gradients = tf.distribute.get_replica_context().all_reduce('SUM', gradients)")
    if (scale := ground.scaling.get(substep.name)) is not None:
        lines += [
            f"scale = tf.convert_to_tensor({scale})",
            f"gradients = [unscaled(gradient, scale) {_EACH}",
        ]
    if isinstance(substep.ascend, Number):
        lines.append(f"# {substep.ascend!r}")
        lines.append("offsets = climb(gradients, value_of('ascend'))")
    elif isinstance(substep.ascend, float):
        lines.append(f"offsets = climb(gradients, {substep.ascend!r})")
    else:
        lines.append("offsets = ascend(gradients, trained)")
    return [*lines, "gradients = gradients_at(uphill, self, trained, offsets)"]


def _apply_finite(substep: Substep, ground: Ground) -> list[str]:
    """The update, unless a gradient is not finite; and the count of those that are left out."""
    scaled = ground.scaling.get(substep.name) == DYNAMIC
    before = "finite & " if _checks_early(substep, ground) else ""
    lines = [f"finite = {before}all_finite(gradients)", "skipped.count(finite)"]
    if not scaled:
        return [*lines, *_defined("apply", _apply(substep)), "update_if(finite, apply, gradients)"]
    lines.append("# An optimizer that scales its loss leaves the update out, and lowers the scale.")
    lines += _optimize(substep)
    if substep.average is not None:
        lines += [*_defined("follow", _follow(substep)), "update_if(finite, follow, gradients)"]
    return lines


def _checks_early(substep: Substep, ground: Ground) -> bool:
    """Whether something could hide what is not finite: a clip makes a bound of it.

    Under a loss scale that moves, gradients keep it.
    """
    hides = substep.treats or (substep.name in ground.clipping and ground.replicas > 1)
    moves = ground.scaling.get(substep.name) == DYNAMIC
    return substep.skip_nonfinite and hides and not moves


def _defined(name: str, lines: list[str]) -> list[str]:
    return ["", f"def {name}(gradients):", *indented(lines, 1), ""]


def _apply(substep: Substep, prefix: str = "") -> list[str]:
    """The update itself, and what follows it."""
    return _optimize(substep, prefix) + _follow(substep, prefix)


def _optimize(substep: Substep, prefix: str = "") -> list[str]:
    return _at_rate(substep, [f"{prefix}optimizer.apply(gradients, trained)"], prefix)


def _follow(substep: Substep, prefix: str = "") -> list[str]:
    """How averages of weights follow an update."""
    if substep.average is None:
        return []
    start = substep.average.start
    if start is None:
        return [f"{prefix}averaged.follow()"]
    return [f"# {start!r}", f"{prefix}averaged.follow({prefix}value_of('average'))"]


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
    apply = _apply_finite(substep, ground) if substep.skip_nonfinite else _apply(substep)
    unscaled = []
    if scale is not None:
        unscaled = [
            f"scale = tf.convert_to_tensor({scale})",
            f"gradients = [unscaled(gradient, scale) {_EACH}",
        ]
    return [
        "",
        "def update(gradients):",
        '    """Of the mean over the steps, which are forgotten."""',
        "    accumulated.clear()",
        *indented(_treatment(substep, ground, "", unscaled=True), 1),
        *indented(apply, 1),
        "",
        "if gradients:",
        *indented([_DENSE, *unscaled], 1),
        "    due = accumulated.add(gradients, reached)",
        "    update_if(due, update, accumulated.mean(reached))",
    ]


def _treatment(substep: Substep, ground: Ground, prefix: str, unscaled: bool = False) -> list[str]:
    """What is done to dense gradients before the optimizer; `unscaled`: of any loss scale."""
    clips = substep.name in ground.clipping and ground.replicas > 1
    treats = substep.treats or clips or unscaled
    scale = ground.scaling.get(substep.name) if treats else None
    # Among replicas, what is finite has to be so in all of them.
    several = substep.skip_nonfinite and ground.replicas > 1
    if not substep.treats and not clips and scale is None and not several:
        return []
    lines = []
    if ground.replicas > 1:
        lines.append("gradients = tf.distribute.get_replica_context().all_reduce('SUM', gradients)")
    if scale is not None:
        lines.append(f"scale, scaled = tf.convert_to_tensor({prefix}{scale}), gradients")
        lines += [] if unscaled else [f"gradients = [unscaled(gradient, scale) {_EACH}"]
    if _checks_early(substep, ground):
        lines += ["# What follows may hide it.", "finite = all_finite(gradients)"]
    if substep.gradients is not None:
        lines.append(f"gradients = {prefix}transform(gradients, trained)")
    lines += _clip(substep)
    if clips:
        lines.append(f"gradients = {prefix}clip_as_optimizer(gradients, trained)")
    if scale is not None:
        lines.append(f"gradients = [tf.cast(gradient, scale.dtype) * scale {_EACH}")
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
