"""What a callback does to a model, as a table."""

from __future__ import annotations

import io
from textwrap import fill
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from loopctl.compile import Steps
from loopctl.config import Action, Number, OptimizerGroups, Substep
from loopctl_shared import html_table

COLUMNS = (
    "action",
    "condition",
    "branch",
    "loss",
    "regularization",
    "variables",
    "gradients",
    "optimizer",
    "nodes",
)


def table(steps: Steps, batch: Any, separate: Steps | None, width: int) -> str:
    """Actions, conditions, losses, variables, gradient treatment, optimizers and graph sizes.

    Args:
        batch: ``(x, y)``, tensors or specs, to trace with; without it sizes are left out.
        separate: the same plan compiled without shared forward passes, to compare sizes with.
        width: of a line, at most.
    """
    rows = Table(title=_title(steps), title_justify="left", expand=False)
    # Titles are whole wherever all of them fit: each column has a border and two spaces.
    fit = sum(len(name) + 3 for name in COLUMNS) < width
    for name in COLUMNS:
        justify: Literal["left", "right"] = "right" if name == "nodes" else "left"
        least = len(name) if fit else None
        rows.add_column(name, justify=justify, overflow="fold", min_width=least)
    for row in _rows(steps, batch):
        rows.add_row(*row)
    # In a notebook rich would show the table besides, whatever file it is told.
    console = Console(
        width=width, record=True, file=io.StringIO(), color_system=None, force_jupyter=False
    )
    console.print(rows)
    text = "\n".join(
        [
            console.export_text().rstrip(),
            *(fill(told, width) for told in _remarks(steps, batch, separate)),
        ]
    )
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def html(steps: Steps, batch: Any, separate: Steps | None) -> str:
    """The same table for a notebook, which breaks lines by itself."""
    caption = "\n".join([_title(steps), *_remarks(steps, batch, separate)])
    return html_table(COLUMNS, _rows(steps, batch), caption)


def _title(steps: Steps) -> str:
    return f"Control of {steps.model.name!r}"


def _rows(steps: Steps, batch: Any) -> list[list[str]]:
    return [
        _row(steps, action, substep, batch)
        for action in steps.plan.actions
        for substep in action.substeps
    ]


def _remarks(steps: Steps, batch: Any, separate: Steps | None) -> list[str]:
    """What is to be said below the table."""
    told = [
        f"{action.name}: both branches share one forward pass."
        for action in steps.plan.actions
        if steps.ground.shares(action)
    ]
    if batch is not None:
        size = f"Main step: {nodes(steps.main, batch)} nodes"
        if separate is not None:
            size += f", {nodes(separate.main, batch)} with separate forward passes"
        told.append(size)
    return told


def _row(steps: Steps, action: Action, substep: Substep, batch: Any) -> list[str]:
    model = steps.model
    first = substep is action.substeps[0]
    weights = steps.selections[substep.name]
    size = sum(int(np.prod(v.shape)) for v in weights)
    return [
        action.name if first else "",
        condition(action.cond) if first else "",
        str(substep.branch) + (f" × {substep.repeat}" if substep.repeat > 1 else ""),
        _loss(steps, substep) + _weights(substep) + _inference(substep),
        _regularization(substep),
        f"{len(weights)} of {len(model.trainable_variables)} ({size} weights)",
        _gradients(substep),
        _optimizer(steps, substep),
        "" if batch is None else str(nodes(steps.substeps[substep.name], batch)),
    ]


def condition(cond: Any) -> str:
    """A predicate as it is written; a function by its name, a lambda by its place."""
    code = getattr(cond, "__code__", None)
    if code is not None and cond.__name__ == "<lambda>":
        return f"lambda, {code.co_filename.rsplit('/', 1)[-1]}:{code.co_firstlineno}"
    return str(getattr(cond, "__qualname__", None) or repr(cond))


def _loss(steps: Steps, substep: Substep) -> str:
    if substep.objective is not None:
        return f"objective: {_named(substep.objective)}"
    if substep.compiled:
        if steps.ground.computes:
            return "the model's compute_loss"
        return f"compiled: {_loss_name(steps.model.loss)}" if steps.ground.compiled else "none"
    return "none" if substep.loss is None else _loss_name(substep.loss)


def _weights(substep: Substep) -> str:
    return "" if substep.loss_weights is None else f", weighed by {substep.loss_weights}"


def _inference(substep: Substep) -> str:
    if isinstance(substep.inference, bool):
        return ", in inference" if substep.inference else ""
    chosen = substep.inference
    told = ", ".join(chosen) if isinstance(chosen, tuple) else _named(chosen)
    return f", {told} in inference"


def _loss_name(loss: Any) -> str:
    if loss is None:
        return "none"
    if isinstance(loss, dict):
        return ", ".join(f"{key}: {_loss_name(one)}" for key, one in loss.items() if one)
    if isinstance(loss, list | tuple):
        return ", ".join(map(_loss_name, loss))
    return loss if isinstance(loss, str) else _named(loss)


def _named(thing: Any) -> str:
    return str(getattr(thing, "__name__", type(thing).__name__))


def _regularization(substep: Substep) -> str:
    if isinstance(substep.regularize, bool):
        return "all layers" if substep.regularize else "none"
    if isinstance(substep.regularize, tuple):
        return ", ".join(substep.regularize)
    return _named(substep.regularize)


def _gradients(substep: Substep) -> str:
    treatment = [f"mean of {substep.accumulate} steps"] if substep.accumulate > 1 else []
    if substep.ascend is not None:
        treatment.insert(0, f"uphill: {_ascent(substep.ascend)}")
    if substep.per_example is not None:
        treatment.insert(0, str(substep.per_example))
    if substep.gradients is not None:
        treatment.append(_named(substep.gradients))
    if substep.clipping is not None:
        treatment.append(f"clipped to {substep.clipping}")
    told = ", then ".join(treatment) or "as they are"
    told += ", if finite" if substep.skip_nonfinite else ""
    average = substep.average
    if average is None:
        return told
    into = "" if average.into is None else f", in {_named_layer(average.into)}"
    return f"{told}; weights averaged by {average.decay:g}{into}"


def _optimizer(steps: Steps, substep: Substep) -> str:
    own = substep.optimizer
    told = "compiled" if own is None else _named(steps.optimizers.of(substep))
    if isinstance(own, OptimizerGroups):
        pairs = zip(own.globs, steps.optimizers.parts(substep), strict=True)
        told = ", ".join(f"{glob}: {_named(part)}" for glob, part in pairs)
    return told if substep.learning_rate is None else f"{told}, at {substep.learning_rate}"


def _ascent(ascend: Any) -> str:
    if isinstance(ascend, float):
        return f"{ascend:g}"
    return repr(ascend) if isinstance(ascend, Number) else _named(ascend)


def _named_layer(choice: Any) -> str:
    return choice if isinstance(choice, str) else str(getattr(choice, "name", _named(choice)))


def nodes(function: Any, batch: Any) -> int:
    """Nodes in the graph of a ``tf.function`` of `batch`, with those of the functions it calls."""
    specs = tf.nest.map_structure(_as_spec, batch)
    definition = function.get_concrete_function(specs).graph.as_graph_def()
    library = {f.signature.name: f.node_def for f in definition.library.function}
    count, pending, called = 0, [definition.node], set[str]()
    while pending:
        for node in pending.pop():
            count += 1
            for attribute in node.attr.values():
                for callee in (attribute.func, *attribute.list.func):
                    if callee.name in library and callee.name not in called:
                        called.add(callee.name)
                        pending.append(library[callee.name])
    return count


def _as_spec(part: Any) -> Any:
    if isinstance(part, tf.TypeSpec) or part is None:
        return part
    if isinstance(part, tf.RaggedTensor | tf.SparseTensor):
        return tf.type_spec_from_value(part)
    return tf.TensorSpec.from_tensor(tf.convert_to_tensor(part))
