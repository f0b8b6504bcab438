"""Which variables follow others: soft updates, moving averages of weights, copies.

Whatever a write reads is fed, and what it makes of that is solved for two factors: of the variable
itself and of another one. Counts of steps differ between draws, so that a rate that depends on them
is seen. Nothing that gradients or data decide is an average, but where these only decide whether it
is made.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from verify.find.observed import Array, Observed
from verify.find.shapes import Shapes
from verify.find.single_writes import Key, SingleWrites
from verify.flow import reached
from verify.graphs import Node, Tensor, VariableRef, exclusive
from verify.match import Domain, Evaluation, NoValueError, drawn

_DRAWS = 4  # of counts: no step before, one, several, many
_DECIDED = (True, False)
_FREE = 3  # numbers more than are solved for
_EXACT = 1e-6  # of what is written
_ALIKE = 1e-5  # factors are float32: 1 - 0.9999 is known to four digits
_NOTHING = 1e-9  # a factor of it
_DIGITS = 12  # that are known of a factor
_MOST_OPS = 2000  # between a write and what it reads

Factors = tuple[float, dict[Key, float]]
"""What a variable is multiplied by, and each other one, to be what is written."""


@dataclasses.dataclass(frozen=True)
class Follow:
    """A write of ``keeps * target + takes * source``, made by `node`.

    `rate`: `takes` where both add up to one, None where it depends on the step; `sums`: whether
    they do. `first`: the rate before any step was made, if that is another one than later. `when`:
    whether the source is read before or after its own update; empty if it has none.
    """

    target: VariableRef
    source: VariableRef
    node: Node
    rate: float | None
    keeps: float
    takes: float
    sums: bool
    first: float | None
    when: str


class Followers:
    """Answers about one step, or one branch of it."""

    def __init__(self, observed: Observed, writes: SingleWrites) -> None:
        self.observed, self.flow, self.flat = observed, observed.flow, observed.flat
        self.writes = writes

    @functools.cached_property
    def mixed(self) -> dict[Key, list[Follow]]:
        """By key of the target, the writes that mix it with another variable, by any factors."""
        found: dict[Key, list[Follow]] = {}
        others = self.observed.stands_for
        # The one that stands for others comes first: where it follows nothing, neither do these.
        for key in sorted(self.writes.by_key, key=others.__contains__):
            if key in others and others[key] not in found:
                continue
            for node, variable in self.writes.by_key[key]:
                made = self._made(node, variable) if "float" in variable.dtype else None
                if made is not None:
                    found.setdefault(key, []).append(made)
        return found

    @functools.cached_property
    def all(self) -> dict[Key, list[Follow]]:
        """By key of the target, the writes by which it follows another variable."""
        chosen = {key: [f for f in made if f.sums] for key, made in self.mixed.items()}
        return {key: follows for key, follows in chosen.items() if follows}

    @functools.cached_property
    def _decided(self) -> set[int]:
        """Nodes whose value data or gradients decide, other than by way of a variable."""
        begun = [*self.flow.data, *(seed.node for seed in self.flow.seeds)]
        return reached(begun, self.flow.users)

    @functools.cached_property
    def _decided_by_value(self) -> set[int]:
        """Those that what a step is fed, or a gradient, decides not just by a truth value."""
        users: list[list[int]] = [[] for _ in self.flat.nodes]
        for node in self.flat.nodes:
            for tensor in node.data:
                shape, dtype = self.flat.spec(tensor)
                if dtype != "bool" or shape is None:
                    users[tensor[0]].append(node.index)
        fed = (*self.flow.data, *(seed.node for seed in self.flow.seeds))
        return reached([index for index in fed if not self.flat.nodes[index].data], users)

    def _made(self, node: Node, target: VariableRef) -> Follow | None:
        read = self._read(node, target)
        if read is None:
            return None
        reads, border = read
        others = [v for key, (v, _) in reads.items() if key != target.key]
        if not others:
            return None
        deciding = [*self.writes.deciding(self.writes.given(node), border), *border]
        for shapes in (Shapes(), Shapes(None)):
            try:
                draws = [
                    self._solved(node, target, others, shapes, draw, {}) for draw in range(_DRAWS)
                ]
                moved = {i: one for i, one in enumerate(draws) if not _is_still(one)}
                for as_ in _DECIDED if deciding and not moved else ():
                    cut = self.writes.decided(deciding, as_, 1)
                    one = self._solved(node, target, others, shapes, 1, cut)
                    moved = moved if _is_still(one) else {1: one}
            except NoValueError:
                continue
            return self._follow(node, target, reads, moved)
        return None

    def _read(
        self, node: Node, target: VariableRef
    ) -> tuple[dict[Key, tuple[VariableRef, list[int]]], list[Tensor]] | None:
        """The variables of the target's shape that are read, and truth values that data decide."""
        reads: dict[Key, tuple[VariableRef, list[int]]] = {}
        border, seen, stack = dict[Tensor, None](), set[Tensor](), self.writes.given(node)
        while stack:
            tensor = stack.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            maker = self.flat.node(tensor)
            variable = self.flat.variable(maker)
            if tensor[0] in self._decided:
                shape, dtype = self.flat.spec(tensor)
                if dtype == "bool" and shape is not None:
                    border[tensor] = None
                    continue
                if variable is not None or tensor[0] in self._decided_by_value:
                    return None
            if variable is not None:
                alike = variable.shape == target.shape and maker.op == "ReadVariableOp"
                if alike and "float" in variable.dtype:
                    reads.setdefault(variable.key, (variable, []))[1].append(tensor[0])
                continue
            stack += maker.data
            if len(seen) > _MOST_OPS:
                return None
        return reads, list(border)

    def _solved(
        self,
        node: Node,
        target: VariableRef,
        others: Sequence[VariableRef],
        shapes: Shapes,
        draw: int,
        decided: dict[Tensor, Any],
    ) -> Factors | None:
        """The factors that explain what is written; None if there are none."""
        shape = shapes.of(target.shape)
        unknown = 1 + len(others)
        rounds = math.ceil((unknown + _FREE) / max(1, math.prod(n or 1 for n in shape)))
        rows, written = list[Array](), list[Array]()
        for again in range(rounds):
            every = [target, *others]
            held = [
                drawn((shape, "float64"), Domain.REAL, 0, f"{v.path}:{draw}:{again}") for v in every
            ]
            cut = dict(decided)
            for variable, value in zip(every, held, strict=True):
                cut |= self.writes.reads_as(variable.key, value)
            feed = self.observed.feed(draw, shapes)
            after = self.writes.after(node, held[0], Evaluation(self.observed.plan, feed, cut))
            if after.shape != held[0].shape:
                raise NoValueError(f"{node.id} writes another shape")
            rows.append(np.stack([value.reshape(-1) for value in held], axis=1))
            written.append(after.astype(np.float64).reshape(-1))
        known, wanted = np.concatenate(rows), np.concatenate(written)
        if not np.isfinite(wanted).all():
            return None
        solved: Array = np.linalg.lstsq(known, wanted, rcond=None)[0]
        factors: Array = np.asarray(np.round(solved, _DIGITS))
        if np.abs(known @ factors - wanted).max() > _EXACT * np.abs(known).max():
            return None
        taken = {
            variable.key: float(factor)
            for variable, factor in zip(others, factors[1:], strict=True)
            if abs(factor) > _NOTHING
        }
        return float(factors[0]), taken

    def _follow(
        self,
        node: Node,
        target: VariableRef,
        reads: dict[Key, tuple[VariableRef, list[int]]],
        moved: dict[int, Factors | None],
    ) -> Follow | None:
        """What the draws say together in which the target is changed."""
        solved = {draw: one for draw, one in moved.items() if one is not None}
        keys = {key for _, taken in solved.values() for key in taken}
        if not solved or len(solved) < len(moved) or len(keys) != 1:
            return None
        source, at = reads[keys.pop()]
        factors = {
            draw: (keeps, taken.get(source.key, 0.0)) for draw, (keeps, taken) in solved.items()
        }
        later = [one for draw, one in factors.items() if draw] or [*factors.values()]
        (keeps, takes), first = later[-1], factors.get(0)
        sums = all(abs(sum(one) - 1) <= _ALIKE * abs(one[1]) + 5e-7 for one in factors.values())
        constant = all(np.isclose(one[1], takes, rtol=_ALIKE, atol=5e-7) for one in later)
        rate = takes if sums and constant else None
        other = first is not None and rate is not None and not np.isclose(first[1], rate)
        when = self._when(source, at)
        begins = first[1] if other and first is not None else None
        return Follow(target, source, node, rate, keeps, takes, sums, begins, when)

    def _when(self, source: VariableRef, reads: Sequence[int]) -> str:
        """Whether a variable is read before or after its update."""
        made = [node for node, variable in self.flat.writes() if variable.key == source.key]
        if not made:
            return ""
        places = [self.flat.nodes[index] for index in reads]
        after = any(
            node.index < read.index and not exclusive(node.path, read.path)
            for node in made
            for read in places
        )
        return "after" if after else "before"

    def beside(self, follow: Follow) -> Iterator[Node]:
        """The other writes of the target that are made in the same step, of the same replica."""
        for node, variable in self.writes.by_key[follow.target.key]:
            alike = variable.replica == follow.target.replica
            if alike and node != follow.node and not exclusive(node.path, follow.node.path):
                yield node


def _is_still(factors: Factors | None) -> bool:
    """Whether nothing but the variable itself is written to it."""
    return factors is not None and not factors[1] and abs(factors[0] - 1) <= _EXACT
