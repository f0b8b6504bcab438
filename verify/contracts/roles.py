"""What variables are to a step, told so that another version of Keras tells them alike.

What an optimizer keeps is called otherwise by each version (``SGD/iteration``, ``sgd/iteration``),
and two optimizers may even swap names: there, what a variable decides says which one it is.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from verify.flow import Flow
from verify.graphs import CASES, IFS, FlatGraph, VariableRef, draws, key_of
from verify.step import Step

Key = int | str

_KINDS = ("momentum", "velocity", "iteration", "learning_rate")


@dataclasses.dataclass(frozen=True)
class Role:
    """A variable as records know it.

    `name`: what it is called in all versions; `decides`: the paths of the weights that are written
    by what it holds, where an optimizer keeps it; `random`: random numbers decide what is written.
    """

    name: str
    path: str
    shape: tuple[int | None, ...]
    dtype: str
    trained: bool
    written: bool
    decides: tuple[str, ...]
    random: bool


def roles_of(step: Step, flow: Flow) -> dict[Key, Role]:
    """The variables that a step uses, by key, in the order of their first use."""
    flat = step.flat
    used: dict[Key, VariableRef] = {}
    for node in flat.nodes:
        variable = None if node.index in flat.variables else flat.variable(node)
        if variable is not None:
            used.setdefault(variable.key, variable)
    kept = {key_of(v) for optimizer in step.optimizers for v in optimizer.variables}
    behind = _Behind(flat, used)
    # Some of what is written by gradients are no weights: those that an optimizer keeps.
    weights = [key for key in used if key in behind.writes and key not in kept]
    found: dict[Key, Role] = {}
    numbers = Counter[str]()
    for key, variable in used.items():
        name, decides = variable.path, tuple[str, ...]()
        if key in kept:
            decides = tuple(sorted(used[w].path for w in weights if behind.decides(key, w)))
            name = f"kept for {', '.join(decides)}: {variable.shape} {variable.dtype}"
            name += f" {next((kind for kind in _KINDS if kind in variable.path), '')}"
            numbers[name] += 1
            name += f" {numbers[name]}"
        found[key] = Role(
            name=name,
            path=variable.path,
            shape=variable.shape,
            dtype=variable.dtype,
            trained=flow.is_trainable(variable) and key not in kept,
            written=key in behind.writes,
            decides=decides,
            random=key in behind.writes and behind.is_random(key),
        )
    return found


def paired(then: Iterable[Role], now: Mapping[Key, Role]) -> dict[Key, Role]:
    """Which of the variables of a record each of these is; those that none is are left out.

    By name; what is left over by what it decides, then by its shape, in the order of first use.
    """
    left, found = list(then), dict[Key, Role]()

    def spec(role: Role) -> tuple[object, ...]:
        return role.shape, role.dtype, role.trained, role.written

    ways: tuple[Callable[[Role, Role], bool], ...] = (
        lambda a, b: a.name == b.name and (a.shape, a.dtype) == (b.shape, b.dtype),
        lambda a, b: bool(a.decides) and a.decides == b.decides and spec(a) == spec(b),
        lambda a, b: bool(a.decides) == bool(b.decides) and spec(a) == spec(b),
    )
    for same in ways:
        for key, role in now.items():
            if key in found:
                continue
            match = next((one for one in left if same(one, role)), None)
            if match is not None:
                found[key] = match
                left.remove(match)
    return found


class _Behind:
    """What decides what is written, for all variables at once: sets of bits."""

    def __init__(self, flat: FlatGraph, used: Mapping[Key, VariableRef]) -> None:
        self._bits = {key: 1 << place for place, key in enumerate(used, 1)}
        self._flat = flat
        self.writes: dict[Key, int] = {}
        found = self._nodes
        for node, variable in flat.writes():
            bits = functools.reduce(lambda a, b: a | b, (found[i] for i, _ in node.data), 0)
            for guard, _ in flat.around(node.path):
                bits |= found[guard.predicate[0]]
            self.writes[variable.key] = self.writes.get(variable.key, 0) | bits
        trained = {key for key, variable in used.items() if variable.trainable}
        changed = True
        while changed:  # what is written may be read again in the same step
            changed = False
            for key, bits in self.writes.items():
                through = bits
                for other, written in self.writes.items():
                    if other not in trained and bits & self._bits[other]:
                        through |= written
                changed |= through != bits
                self.writes[key] = through

    def decides(self, key: Key, written: Key) -> bool:
        return bool(self._bits[key] & self.writes[written])

    def is_random(self, written: Key) -> bool:
        return bool(self.writes[written] & 1)

    @property
    def _nodes(self) -> list[int]:
        flat = self._flat
        own = [0] * len(flat.nodes)
        for node in flat.nodes:
            variable = flat.variable(node)
            if node.index not in flat.variables and variable is not None:
                own[node.index] = self._bits[variable.key]
            own[node.index] |= draws(node.op)
        found, before = own, None
        while found != before:  # loops go back
            before, found = found, [*found]
            for node in flat.nodes:
                bits = own[node.index]
                chosen = node.op in IFS | CASES and node.position is not None
                for source, _ in node.inputs if chosen else node.data:
                    bits |= found[source]
                found[node.index] = bits
        return found
