"""What a step does to the world, in a form that does not depend on names or on order.

Each node is given a digest of what it computes: its op, its attributes, the digests of its inputs
(in any order where TensorFlow declares an op commutative) and, for a read, of what was written
before it. What a step does is then the collection of its effects: a write, or an op that TensorFlow
declares stateful, under the choices that lead to it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from verify.flow.gradient_flow import Flow
from verify.graphs import (
    READS,
    WHILES,
    Node,
    Tensor,
    VariableRef,
    is_commutative,
    is_stateful,
    same_branch,
)

Digest = bytes

_ROUNDS = 4  # of telling variables apart by what is done with them
# Attributes that say where or how an op runs, or which random numbers it draws, not what it does.
_IRRELEVANT = {"container", "shared_name", "seed", "seed2", "device", "validate_shape"}
_NO_EFFECTS = {"VarHandleOp", "Placeholder", "_Arg", "NoOp", "Assert"}


@dataclasses.dataclass(frozen=True)
class Effect:
    """One thing that a step does: `digest` is equal for equal ones, whatever they are called."""

    node: Node
    variable: VariableRef | None
    digest: Digest


class Canonical:
    """Digests of one step, under digests given to its variables by key."""

    def __init__(self, flow: Flow, variables: Mapping[int | str, Digest]) -> None:
        self.flow, self.flat, self.folder = flow, flow.flat, flow.folder
        self.variables = variables

    def output(self, tensor: Tensor) -> Digest:
        return _digest(self.digests[tensor[0]], tensor[1])

    @functools.cached_property
    def digests(self) -> list[Digest]:
        """One for each node."""
        flat, variables = self.flat, self.variables
        digests: list[Digest] = [b""] * len(flat.nodes)
        arguments = {index: position for position, index in enumerate(flat.arguments)}
        writes: dict[int | str, list[int]] = {}
        written = {node.index: variable for node, variable in flat.writes()}
        for node in flat.nodes:
            index = node.index
            if index in flat.variables:
                digests[index] = variables[flat.variables[index].key]
                continue
            if index in arguments:
                digests[index] = _digest("argument", arguments[index])
                continue
            value = None if is_stateful(node.op) else self.folder.value((index, 0))
            if value is not None:
                digests[index] = _digest(str(value.dtype), value.shape, value.tobytes())
                continue
            parts: list[Any] = [node.op, *_attributes(node)]
            if node.op in WHILES:  # what the body makes of it is an effect of its own
                parts += [node.position, digests[node.data[0][0]], node.data[0][1]]
            else:
                inputs = [_digest(digests[source], output) for source, output in node.data]
                parts += sorted(inputs) if is_commutative(node.op) else inputs
            if node.op in READS and (variable := flat.variable(node)) is not None:
                before = [
                    digests[write]
                    for write in writes.get(variable.key, ())
                    if same_branch(flat.nodes[write].path, node.path)
                ]
                parts += ["after", *before[-1:]]
            digests[index] = _digest(*parts)
            if index in written:
                writes.setdefault(written[index].key, []).append(index)
        return digests

    @functools.cached_property
    def effects(self) -> list[Effect]:
        flat, variables, digests = self.flat, self.variables, self.digests
        written = {node.index: variable for node, variable in flat.writes()}
        found = []
        for node in flat.nodes:
            variable = written.get(node.index)
            loops = node.op in WHILES and len(node.inputs) > 1
            acts = is_stateful(node.op) and node.op not in READS | _NO_EFFECTS | WHILES
            if variable is None and not (acts and node.position is None) and not loops:
                continue
            parts: list[Any] = [digests[node.index], *self._choices(node)]
            if loops:
                parts += [_digest(digests[source], output) for source, output in node.data]
            if variable is not None:
                parts.append(variables[variable.key])
            found.append(Effect(node, variable, _digest(*parts)))
        return found

    def _choices(self, node: Node) -> Iterable[Digest]:
        """What has to be chosen for a node to run, outermost first."""
        for guard, choice in self.flat.around(node.path):
            source, output = self.flat.through(guard.predicate)
            yield _digest(self.digests[source], output, choice)


def canonical(a: Flow, b: Flow) -> tuple[Canonical, Canonical]:
    """Both steps, with a variable of one taken to be that of the other which is treated alike.

    Variables that both use are themselves. Others are told apart, round by round, by what is done
    with them; those that no round before tells apart are paired in the order of their first use.
    """
    histories = [_histories(flow, _shared(a, b)) for flow in (a, b)]
    names: tuple[dict[int | str, Digest], ...] = ({}, {})
    for round_ in reversed(range(_ROUNDS)):
        waiting: dict[Digest, list[int | str]] = {}
        for key, history in histories[1].items():
            if key not in names[1]:
                waiting.setdefault(history[round_], []).append(key)
        for key, history in histories[0].items():
            if key not in names[0] and waiting.get(history[round_]):
                other = waiting[history[round_]].pop(0)
                names[0][key] = names[1][other] = _digest("variable", len(names[0]))
    for which, (known, history_of) in enumerate(zip(names, histories, strict=True)):
        for key in history_of:
            known.setdefault(key, _digest("only in", which, key))
    return Canonical(a, names[0]), Canonical(b, names[1])


def _shared(a: Flow, b: Flow) -> frozenset[int | str]:
    keys = [{v.key for v in flow.flat.variables.values()} for flow in (a, b)]
    return frozenset(keys[0] & keys[1])


def _histories(flow: Flow, shared: frozenset[int | str]) -> dict[int | str, list[Digest]]:
    """Per variable, in the order of their first use, what it is taken for in each round."""
    first: dict[int | str, VariableRef] = {}
    for node in flow.flat.nodes:
        variable = None if node.index in flow.flat.variables else flow.flat.variable(node)
        if variable is not None:
            first.setdefault(variable.key, variable)
    histories = {
        key: [
            _digest("shared", key)
            if key in shared
            else _digest(variable.shape, variable.dtype, flow.is_trainable(variable))
        ]
        for key, variable in first.items()
    }
    for _ in range(_ROUNDS - 1):
        now = {key: history[-1] for key, history in histories.items()}
        everything = {v.key: b"" for v in flow.flat.variables.values()}
        done: dict[int | str, list[Digest]] = {}
        for effect in Canonical(flow, {**everything, **now}).effects:
            if effect.variable is not None:
                done.setdefault(effect.variable.key, []).append(effect.digest)
        for key, history in histories.items():
            history.append(
                history[-1] if key in shared else _digest(history[-1], sorted(done.get(key, ())))
            )
    return histories


def fingerprint(flow: Flow, tensors: Iterable[Tensor]) -> str:
    """Twelve digits that tell what tensors are computed from, in any process and order of ops.

    Variables are told by their paths, random ops by what they draw and not by their seeds.
    """
    variables = {v.key: _digest("variable", v.path) for v in flow.flat.variables.values()}
    made = Canonical(flow, variables)
    return _digest(*sorted(made.output(tensor) for tensor in tensors)).hex()[:12]


def unmatched(a: Iterable[Effect], b: Iterable[Effect]) -> list[Effect]:
    """The effects of `a` that `b` does not have, or does not have as often."""
    left = Counter(effect.digest for effect in b)
    found = []
    for effect in a:
        if left[effect.digest] > 0:
            left[effect.digest] -= 1
        else:
            found.append(effect)
    return found


def _attributes(node: Node) -> list[Any]:
    # Sorted: a definition holds them in another order in each process.
    settings = sorted(node.settings.items())
    return [(name, value) for name, value in settings if name not in _IRRELEVANT]


def _digest(*parts: Any) -> Digest:
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).digest()
