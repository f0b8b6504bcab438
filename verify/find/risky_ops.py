"""Ops that people tend to forbid: they leave the device, differ from run to run, or are wide."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Set

from verify.flow import Flow
from verify.graphs import IDENTITIES, READS, Node, draws, is_stateful

CALLBACKS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "Print", "PrintV2"}
_WIDE = {"float64", "complex128", "int64", "uint64"}


@dataclasses.dataclass(frozen=True)
class HazardFact:
    """So many ops of one type are a candidate for `forbids`.

    `kind`: ``host callback`` (Python, or printing), ``stateful randomness`` (seeded by the state of
    the process) or ``64-bit`` (computed from data or weights in 64 bits).
    """

    kind: str
    op: str
    count: int


def hazards(flow: Flow) -> tuple[HazardFact, ...]:
    fed = frozenset(flow.flat.arguments)
    found = Counter(
        (kind, node.op)
        for node in flow.flat.nodes
        if flow.inside(node)
        for kind in _kinds(flow, node, fed)
    )
    return tuple(HazardFact(kind, op, count) for (kind, op), count in sorted(found.items()))


def _kinds(flow: Flow, node: Node, fed: Set[int]) -> list[str]:
    kinds = []
    if node.op in CALLBACKS:
        kinds.append("host callback")
    if draws(node.op) and is_stateful(node.op):
        kinds.append("stateful randomness")
    computed = node.index in flow.of_data or node.index in flow.of_weights
    moved = node.op in IDENTITIES or node.op in READS or node.index in fed
    if computed and not moved and not draws(node.op) and not _WIDE.isdisjoint(node.dtypes):
        kinds.append("64-bit")
    return kinds
