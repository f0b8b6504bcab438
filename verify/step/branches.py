"""What a step does where a variable has a given value: the branches it does not choose cut off."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import (
    CASES,
    IFS,
    WHILES,
    Arguments,
    FlatGraph,
    Folder,
    Guard,
    Node,
    Tensor,
    VariableRef,
    branch_taken,
)
from verify.step.capturing import Step


def choosers(flat: FlatGraph, guard: Guard) -> list[VariableRef]:
    """The variables that a guard's choice is read from."""
    return sorted(flat.read_for([guard.predicate]), key=lambda variable: variable.path)


def constant_choice(flat: FlatGraph, guard: Guard, folder: Folder | None = None) -> Any:
    """The value that always decides a guard, if only constants do; else None."""
    value = (folder or Folder(flat)).value(guard.predicate)
    return None if value is None else value.reshape(()).item()


def specialised(step: Step, variable: VariableRef, value: Any) -> Step | None:
    """The step as it is while `variable` has `value`; None if it decides no branch by itself."""
    flat = step.flat
    folder = Folder(flat)
    reads = [node.index for node, read in flat.reads() if read.key == variable.key]
    given = np.asarray(value, tf.as_dtype(variable.dtype).as_numpy_dtype)
    for index in reads:
        folder.assume(index, given)
    chosen: dict[tuple[tuple[str, ...], str], int] = {}
    for guard in flat.guards:
        if guard.op in WHILES or all(v.key != variable.key for v in choosers(flat, guard)):
            continue
        decided = folder.value(guard.predicate)
        if decided is not None:
            value = decided.reshape(()).item()
            chosen[guard.path, guard.name] = branch_taken(guard.op, value, len(guard.branches))
    if not chosen:
        return None
    return _cut(step, chosen)


def _cut(step: Step, chosen: dict[tuple[tuple[str, ...], str], int]) -> Step:
    """The step without the branches that are not `chosen`, by place and name of the op."""
    flat = step.flat
    dropped = {
        site
        for guard in flat.guards
        if (choice := chosen.get((guard.path, guard.name))) is not None
        for i, site in enumerate(guard.branches)
        if i != choice
    }
    lengths = sorted({len(site) for site in dropped})

    def is_dropped(path: tuple[str, ...]) -> bool:
        return any(path[:length] in dropped for length in lengths)

    kept: list[Node] = []
    merged: dict[int, Tensor] = {}
    for node in flat.nodes:
        if is_dropped(node.path):
            continue
        choice = chosen.get((node.path, node.op_name))
        if choice is not None and node.op in IFS | CASES and node.position is not None:
            merged[node.index] = node.inputs[1 + choice]
        else:
            kept.append(node)
    place = {node.index: i for i, node in enumerate(kept)}

    def moved(tensor: Tensor) -> Tensor:
        while tensor[0] in merged:
            tensor = merged[tensor[0]]
        return place[tensor[0]], tensor[1]

    def all_moved(tensors: Any) -> list[Tensor]:
        return [moved(t) for t in tensors if t[0] in place or t[0] in merged]

    def fed(arguments: Arguments) -> Arguments:
        moved_ones = (None if t is None else all_moved([t]) for t in arguments.tensors)
        return dataclasses.replace(
            arguments, tensors=tuple(one[0] if one else None for one in moved_ones)
        )

    cut = FlatGraph(flat.name, foreign=flat.foreign)
    cut.nodes = [
        Node(
            i,
            node.op_name,
            node.form,
            node.path,
            [moved(tensor) for tensor in node.inputs],
            [place[source] for source in node.control if source in place],
            node.position,
        )
        for i, node in enumerate(kept)
    ]
    for node in cut.nodes:
        node.data = [cut.through(tensor) for tensor in node.inputs]
    cut.variables = {place[i]: v for i, v in flat.variables.items() if i in place}
    cut.arguments = [place.get(i, -1) for i in flat.arguments]
    cut.outputs = all_moved(flat.outputs)
    cut.guards = [
        dataclasses.replace(guard, predicate=moved(guard.predicate))
        for guard in flat.guards
        if not is_dropped(guard.path) and (guard.path, guard.name) not in chosen
    ]
    return dataclasses.replace(
        step,
        flat=cut,
        targets=None if step.targets is None else frozenset(all_moved(step.targets)),
        weights=None if step.weights is None else frozenset(all_moved(step.weights)),
        inputs=frozenset(all_moved(step.inputs)),
        arguments=None if step.arguments is None else fed(step.arguments),
        target_of={key: frozenset(all_moved(one)) for key, one in step.target_of.items()},
    )
