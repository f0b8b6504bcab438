"""What a step does to its variables, told by where the written values come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from verify.flow import Flow
from verify.graphs import Node, Tensor, VariableRef

_ZEROS = {"ZerosLike", "_ZerosLike"}
_FILLS = {"Fill": 1, "BroadcastTo": 0}  # where the value is among the inputs


@dataclasses.dataclass(frozen=True)
class Written:
    """Paths of the variables written by one step or branch, by kind; no path is in two of these.

    `watched`: trainable, from its gradient. `by_hand`: trainable, in no other way. `slots`: from
    gradients (optimizer state); `accumulators`: so too, and emptied in turn. `averages`: from one
    other variable, or from trainable ones, without data (moving averages of weights).
    `statistics`: mixtures of what they held and of data (moving averages of activations);
    `metrics`: from data in any other way (sums, states). `counters`: from nothing of these.
    """

    watched: tuple[str, ...]
    by_hand: tuple[str, ...]
    slots: tuple[str, ...]
    accumulators: tuple[str, ...]
    averages: tuple[str, ...]
    statistics: tuple[str, ...]
    metrics: tuple[str, ...]
    counters: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Told:
    """What values tell: the keys of moving statistics, and of variables that follow others."""

    moving: Collection[int | str]
    following: Collection[int | str]


def written(flow: Flow, by_values: Told) -> Written:
    watched = {update.variable.path for update in flow.trained}
    by_hand = {u.variable.path for u in flow.updates if u.node.index not in flow.backward}
    kinds: dict[str, set[str]] = {}
    emptied: set[str] = set()
    for node, variable in flow.flat.writes():
        if flow.is_trainable(variable) or not flow.inside(node):
            continue
        kinds.setdefault(_kind(flow, node, variable, by_values), set()).add(variable.path)
        if any(_is_zero(flow, tensor) for tensor in node.data[1:]):
            emptied.add(variable.path)
    slots = kinds.get("slots", set())
    averages = kinds.get("averages", set()) - slots
    statistics = kinds.get("statistics", set()) - slots - averages
    metrics = kinds.get("metrics", set()) - slots - averages - statistics
    counters = kinds.get("counters", set()) - slots - averages - statistics - metrics
    return Written(
        watched=tuple(sorted(watched)),
        by_hand=tuple(sorted(by_hand - watched)),
        slots=tuple(sorted(slots - emptied)),
        accumulators=tuple(sorted(slots & emptied)),
        averages=tuple(sorted(averages)),
        statistics=tuple(sorted(statistics)),
        metrics=tuple(sorted(metrics)),
        counters=tuple(sorted(counters)),
    )


def _kind(flow: Flow, node: Node, variable: VariableRef, by_values: Told) -> str:
    if node.index in flow.backward:
        return "slots"
    if variable.key in by_values.following:
        return "averages"
    if node.index in flow.of_data:
        return "statistics" if variable.key in by_values.moving else "metrics"
    return "averages" if node.index in flow.of_weights else "counters"


_TOLD = {
    "slots": "state of an optimizer",
    "averages": "an average of weights",
    "statistics": "a moving statistic",
    "metrics": "a metric or state, from data",
    "counters": "a counter",
}


def told_of(flow: Flow, node: Node, variable: VariableRef, by_values: Told) -> str:
    """What kind of write one is, in words."""
    if flow.is_trainable(variable):
        return "trained" if node.index in flow.backward else "by hand"
    return _TOLD[_kind(flow, node, variable, by_values)]


def _is_zero(flow: Flow, tensor: Tensor) -> bool:
    node = flow.flat.node(tensor)
    if node.op in _ZEROS:
        return True
    if node.op in _FILLS:
        return _is_zero(flow, node.data[_FILLS[node.op]])
    value = flow.folder.value(tensor)
    return value is not None and value.dtype.kind == "f" and not np.any(value)


def stopped(flow: Flow) -> tuple[str, ...]:
    """Trainable variables that a differentiated loss is computed from, by ``StopGradient`` only."""
    stops = {node.index for node in flow.flat.nodes if node.op == "StopGradient"}
    if not stops:
        return ()
    losses = {index for seed in flow.seeds for index, _ in flow.sums_of(seed)}
    every, open_ = flow.ancestors(losses), flow.ancestors(losses, without=stops)
    reads = [(node, v) for node, v in flow.flat.reads() if flow.is_trainable(v)]
    reached = {v.path for node, v in reads if node.index in open_}
    return tuple(sorted({v.path for node, v in reads if node.index in every} - reached))
