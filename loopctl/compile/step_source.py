"""Plan -> readable Python source of the substeps (thesis, appendix C).

The text is what runs. Values (losses, variables, strategy) are bound in its namespace by
`compiled_steps`; only identifiers that the config's rules admitted and plain numbers are written
into it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from loopctl.compile.source_ground import Ground, indented
from loopctl.compile.update_source import update_lines
from loopctl.config import Action, Number, Substep, place, weight_key

_UNPACKED = "    x, y, sample_weight = unpack_x_y_sample_weight(data)"
_SCALED = "return optimizer.scale_loss(loss)"


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
        *([] if substep.objective is not None else [_UNPACKED]),
        *indented(_recorded(substep, ground, statistics), 1),
        *indented(_uphill(substep, ground), 1),
        *indented(_loss_of(substep, ground), 1),
        *indented(update_lines(substep, ground), 1),
        *indented(_measure(ground, measures, statistics, substep.objective is not None), 1),
        "    return loss, parts" if substep.objective is not None else "    return loss",
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
        _UNPACKED,
        "    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:",
        "        for variable in on_variables + off_variables:",
        "            tape.watch(variable)",
        *indented(_forward(ground, [on, off], statistics), 2),
        *indented(_data_loss(on, ground), 2),
        *indented(_whole_loss(on, ground, "on_"), 2),
        *indented(_whole_loss(off, ground, "off_"), 2),
    ]
    for substep, prefix in ((on, "on_"), (off, "off_")):
        lines += [
            "",
            f"    def {substep.name}():",
            *indented(update_lines(substep, ground, prefix), 2),
            f"        return {prefix}loss",
        ]
    lines += [
        "",
        f"    loss = tf.cond(self.control_variables[{action.name!r}], {on.name}, {off.name})",
        *indented(_measure(ground, measures, statistics), 1),
        "    return loss",
    ]
    return "\n".join(lines) + "\n"


def _recorded(substep: Substep, ground: Ground, statistics: bool | None) -> list[str]:
    """The forward pass, on a tape where anything is differentiated by way of it."""
    lines = [*_passes(substep, ground, statistics), *_whole_loss(substep, ground)]
    if substep.per_example is not None:
        told = "# What is reported and measured is of this pass; examples have passes of their own."
        if not substep.regularize:
            return [told, *lines]
        lines = [told, *lines]
    return [
        "with tf.GradientTape(watch_accessed_variables=False) as tape:",
        "    for variable in variables:",
        "        tape.watch(variable)",
        *indented(lines, 1),
    ]


def _loss_of(substep: Substep, ground: Ground) -> list[str]:
    """The data loss as a function of a batch, to be called with one example."""
    if substep.per_example is None:
        return []
    alone = dataclasses.replace(substep, regularize=False)
    lines = [_UNPACKED.strip(), *_passes(alone, ground, statistics=True)]
    if ground.replicas > 1:
        lines.append("# Keras makes it a part of a mean over the replicas.")
        lines.append(f"loss = loss * {ground.replicas}")
    return ["", "def loss_of(data):", *indented([*lines, _SCALED], 1), ""]


def _uphill(substep: Substep, ground: Ground) -> list[str]:
    """The same loss as a function, to be called at other weights."""
    if substep.ascend is None:
        return []
    lines = [*_passes(substep, ground, statistics=True), *_whole_loss(substep, ground)]
    return ["", "def uphill():", *indented([*lines, "return scaled_loss"], 1), ""]


def _passes(substep: Substep, ground: Ground, statistics: bool | None) -> list[str]:
    """Prediction and data loss, with the layers in inference that a substep wants to be."""
    lines = [*_forward(ground, [substep], statistics), *_data_loss(substep, ground)]
    if substep.inference is False:
        return lines
    return ["with in_inference(inferring):", *indented(lines, 1)]


def _forward(ground: Ground, substeps: list[Substep], statistics: bool | None) -> list[str]:
    """Prediction and, where a substep wants them, the terms that layers add to a loss."""
    if substeps[0].objective is not None:
        lines = _objective(substeps[0], ground)
    else:
        training = f", training={substeps[0].inference is not True}" if ground.training else ""
        lines = [f"y_pred = self(x{training})"]
    for substep in substeps:
        if substep.regularize:
            prefix = _prefix(substep, substeps)
            if substep.per_example is not None:
                chosen = "[self]" if substep.regularize is True else "layers"
                lines.append(f"terms = terms_of_weights({chosen})")
            elif substep.regularize is True:
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
        *indented(lines, 1),
    ]


def _objective(substep: Substep, ground: Ground) -> list[str]:
    """An objective's own forward pass, with its loss."""
    lines, share = [], ""
    if substep.regularize:
        lines.append("forget_added_losses(self)")
    if ground.replicas > 1:
        lines.append("# A mean over this replica's samples is a part of that over all samples.")
        lines.append("share = share_of_replica(data)")
        share = ", share"
    weights = ""
    if substep.loss_weights is not None:
        lines += _told_weights(substep)
        given = _weights(substep)
        if substep.loss_weights.alone:
            weights = f", weights={given[0]}"
        else:
            weights = f", weights=dict(zip(weighed, [{', '.join(given)}]))"
    return [*lines, f"loss, parts, y_pred = loss_and_parts(objective(self, data){share}{weights})"]


def _told_weights(substep: Substep) -> list[str]:
    weights = substep.loss_weights
    expressions = {} if weights is None else weights.expressions
    return [f"# {key}: {expression!r}" for key, expression in expressions.items()]


def _weights(substep: Substep) -> list[str]:
    """The weights of a substep's losses, each as an expression."""
    given = () if substep.loss_weights is None else substep.loss_weights.weights

    def written(place: int, weight: Any) -> str:
        if isinstance(weight, Number):
            return f"value_of({weight_key(place)!r})"
        return repr(weight) if isinstance(weight, float) else f"loss_weights[{place}]"

    return [written(place, weight) for place, weight in enumerate(given)]


def _prefix(substep: Substep, substeps: list[Substep]) -> str:
    if len(substeps) == 1:
        return ""
    return "on_" if substep.branch else "off_"


def _data_loss(substep: Substep, ground: Ground) -> list[str]:
    if substep.objective is not None:
        return []  # is there already
    if substep.loss_weights is not None:
        lines = _told_weights(substep)
        if substep.compiled and ground.several_outputs:
            lines += [
                "# Keras measures the losses of outputs as it computes those that it was given.",
                "compiled_loss(y, y_pred, sample_weight)",
            ]
        weights = ", ".join(_weights(substep))
        return [*lines, f"loss = own_loss(y, y_pred, sample_weight, [{weights}])"]
    if substep.compiled and ground.computes:
        mode = f", training={substep.inference is not True}"
        training = mode if ground.computes_training else ""
        return [f"loss = computed_loss(self, x, y, y_pred, sample_weight{training})"]
    if substep.compiled and ground.compiled:
        return ["loss = compiled_loss(y, y_pred, sample_weight)"]
    if substep.loss is not None:
        return ["loss = own_loss(y, y_pred, sample_weight)"]
    return ["loss = tf.zeros((), floatx)"]


def _whole_loss(substep: Substep, ground: Ground, prefix: str = "") -> list[str]:
    lines = []
    share = f" / {ground.replicas}" if ground.replicas > 1 else ""
    term = f"tf.cast(term, loss.dtype){share} for term in {prefix}terms"
    if substep.per_example is not None:
        lines = [
            f"penalty = sum(({term}), tf.zeros_like(loss))",
            "loss = loss + penalty",
            "scaled_penalty = optimizer.scale_loss(penalty)",
        ]
        return lines if substep.regularize else []
    if substep.regularize:
        lines.append(f"{prefix}loss = sum(({term}), loss)")
    elif prefix:
        lines.append(f"{prefix}loss = loss")
    lines.append(f"{prefix}scaled_loss = {prefix}optimizer.scale_loss({prefix}loss)")
    return lines


def _measure(
    ground: Ground, measures: bool, statistics: bool | None, objective: bool = False
) -> list[str]:
    lines = []
    if ground.statistics and statistics is not True:
        settle = "settle" if statistics is False else "settle_once"
        lines.append(f"statistics.{settle}(scope)")
    if measures and objective:
        lines.append("if y_pred is not None:  # the objective gives a prediction")
        lines.append(_UNPACKED)
        lines.append("    self.compute_metrics(x, y, y_pred, sample_weight)")
    elif measures:
        lines.append("self.compute_metrics(x, y, y_pred, sample_weight)")
    return lines


def _quoted(place: str) -> str:
    return place.replace('"', "'")
