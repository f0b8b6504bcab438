"""What a step leaves behind in seeded draws, by the names that variables have in a record."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from verify.contracts.roles import Key, Role
from verify.contracts.sketches import Sketch, sketch
from verify.find import COUNTS, BatchFeed, probabilities
from verify.graphs import WHILES, FlatGraph, Folder, Tensor, VariableRef, draws
from verify.match import Domain, Evaluation, NoValueError, Plan, concrete, drawn
from verify.step import Step

_DRAWS = (0, 1, 2, 3, 4, 6, 7, 9)
# What an optimizer keeps, once so small that what it adds to a root decides.
_KEPT = (1.0, 1.0, 1e-8, 1.0, 1.0, 1.0, 1.0, 1e-8)
_MARKS = 4  # numbers at which a count decides something
_COMPARED = {"Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual"}
_COMPARED |= {"FloorMod", "FloorDiv", "RealDiv", "Minimum", "Maximum"}
MOST_ELEMENTS = 100_000_000  # of all tensors


Kept = Sketch | Literal["unknown"] | None
"""A change in one draw; None if it is not finite."""

UNKNOWN: Literal["unknown"] = "unknown"


@dataclasses.dataclass(frozen=True)
class Draw:
    """One draw: `batch`, which numbers are fed; `count`, of steps that were made before.

    `now`: numbers that the step only reads, such as a learning rate, hold what they do now.
    """

    batch: int
    count: int
    kept: float
    now: bool


@dataclasses.dataclass
class Evaluated:
    """What a step leaves behind, in each draw.

    `values`: by name of a variable, or ``output 0``. `unknown`: why a value can't be computed, in
    some draw. `untaken`: branches that no draw takes.
    """

    values: dict[str, list[Kept]] = dataclasses.field(default_factory=dict)
    unknown: dict[str, str] = dataclasses.field(default_factory=dict)
    untaken: list[str] = dataclasses.field(default_factory=list)

    def missed(self, name: str, why: NoValueError) -> None:
        """Says that a value can't be computed in a draw: of labels that there is no class for."""
        self.unknown.setdefault(name, str(why).partition("\n")[0])
        self.values.setdefault(name, []).append(UNKNOWN)


def draws_for(flat: FlatGraph) -> list[Draw]:
    """The draws that a record of a step is made of."""
    pairs = zip(_DRAWS, COUNTS, _KEPT, strict=True)
    found = [Draw(b, count, kept, i % 2 == 0) for i, (b, count, kept) in enumerate(pairs)]
    counts = [c for mark in _marks(flat) for c in range(max(0, mark - 2), mark + 2)]
    return found + [Draw(0, count, 1.0, True) for count in sorted({*counts})]


def size_of(flat: FlatGraph) -> int:
    """How many elements all tensors of a step have."""
    shapes = (shape for node in flat.nodes for shape in node.shapes)
    return sum(math.prod(concrete(shape, 0)) for shape in shapes if shape is not None)


def evaluated(
    step: Step, roles: Mapping[Key, Role], every: Sequence[Draw], rows: frozenset[Tensor]
) -> Evaluated:
    """What a step leaves behind, in each of these draws.

    Args:
        roles: what each variable is in the record.
        rows: arguments that are probabilities.
    """
    flat, plan, found = step.flat, Plan(step.flat), Evaluated()
    written = {variable.key: variable for _, variable in flat.writes()}
    taken: dict[tuple[str, ...], set[int]] = {}
    for draw in every:
        feed = _Feed(step, roles, draw, rows)
        here = Evaluation(plan, feed)
        for key, variable in written.items():
            name = roles[key].name
            try:
                before = np.asarray(feed.variable(variable), np.float64)
                after = np.asarray(here.final(variable), np.float64)
            except NoValueError as why:
                found.missed(name, why)
                continue
            found.values.setdefault(name, []).append(sketch(after, before))
        for place, output in enumerate(flat.outputs):
            name = f"output {place}"
            if not _is_number(flat.dtype(output)):
                continue
            try:
                value = np.asarray(here.value(output), np.float64)
            except NoValueError as why:
                found.missed(name, why)
                continue
            found.values.setdefault(name, []).append(sketch(value, np.zeros_like(value)))
        for site, branches in here.taken.items():
            taken.setdefault(site, set()).update(branches)
    found.untaken = [
        "::".join((*guard.path, guard.name))
        for guard in flat.guards
        if guard.op not in WHILES
        and not taken.get((*guard.path, guard.name), set()) >= {*range(len(guard.branches))}
    ]
    return found


def argument_rows(step: Step) -> frozenset[Tensor]:
    """The arguments of a step that are probabilities."""
    tensors = () if step.arguments is None else step.arguments.tensors
    return probabilities(step.flat, (tensor for tensor in tensors if tensor is not None))


class _Feed(BatchFeed):
    """Feeds a step in one draw, variables by what they are in the record."""

    def __init__(
        self, step: Step, roles: Mapping[Key, Role], draw: Draw, rows: frozenset[Tensor]
    ) -> None:
        names = {key: role.name for key, role in roles.items()}
        super().__init__(step.flat, names, draw.batch, rows)
        self.roles, self.one, self._numbers = roles, draw, step.numbers

    def variable(self, variable: VariableRef) -> Any:
        role = self.roles[variable.key]
        dtype, spec = tf.as_dtype(role.dtype), (role.shape, role.dtype)
        if dtype.is_bool and role.shape == ():  # each of several, in each combination
            bit = zlib.crc32(role.name.encode()) % 3
            return tf.constant(bool(_DRAWS.index(self.draw) >> bit & 1))
        if dtype.is_integer and role.shape == ():
            return tf.constant(self.one.count % (dtype.max + 1), dtype)
        if dtype.is_floating and not role.trained:
            if self.one.now and role.shape == () and not role.written:
                number = self._numbers.get(variable.key)
                if number is not None:
                    return tf.constant(number, dtype)
            # Such that a variance is one: greater than the square of a mean.
            kept = 0.5 + 0.2 * tf.constant(drawn(spec, Domain.UNIT, self.draw, role.name))
            return kept * tf.cast(self.one.kept, kept.dtype)
        if dtype.is_floating:
            return tf.constant(self._weights(spec, role.name))
        if dtype.is_integer or dtype.is_bool:
            return tf.constant(drawn(spec, Domain.CLASSES, self.draw, role.name, 7))
        raise NoValueError(f"there are no draws of {role.dtype}, which {role.path} is of")


def _is_number(dtype: str) -> bool:
    known = tf.as_dtype(dtype) if dtype else None
    return known is not None and (known.is_floating or known.is_integer or known.is_bool)


def _marks(flat: FlatGraph) -> list[int]:
    """Numbers that counts of steps are held against."""
    folder, counted, found = Folder(flat), set[int](), dict[int, None]()
    for node in flat.nodes:
        variable = None if node.index in flat.variables else flat.variable(node)
        if variable is not None:
            if variable.shape == () and tf.as_dtype(variable.dtype).is_integer:
                counted.add(node.index)
            continue
        if node.index in counted or draws(node.op) or not node.data:
            continue
        mine = [t[0] in counted for t in node.data]
        others = [folder.value(t) for t, of in zip(node.data, mine, strict=True) if not of]
        if not any(mine) or any(value is None for value in others):
            continue
        counted.add(node.index)
        for value in others if node.op in _COMPARED else ():
            if value is not None and value.size == 1 and value.dtype.kind in "iuf":
                number = float(value.reshape(()))
                if 2 < number < 1e9 and number == int(number):
                    found.setdefault(int(number))
    return [*found][:_MARKS]
