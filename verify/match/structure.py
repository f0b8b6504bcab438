"""Structural unification of a traced reference with a graph, rooted at one tensor.

Because the inputs of an op are ordered, a reference unifies with a candidate root in time linear
in the reference. Leaves of the reference (its arguments) are wildcards with a predicate; the
variables it captures must be the very same variables; constants compare by value; inputs of ops
that TensorFlow declares commutative may be swapped. A failed attempt remembers the deepest point
it reached and the first difference there: the nearest miss.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from verify.graphs import FlatGraph, Folder, Node, Tensor, is_commutative
from verify.match.pattern import Pattern, Predicate

_MAX_PERMUTED = 4  # n-ary commutative ops beyond this are compared in order
# What a tensor is not that may not stand for a role, to whoever reads a message.
_ROLES = {
    "data": "computed from the batch alone",
    "mask": "a mask, truth values made from the batch alone",
    "prediction": "a prediction, made from weights",
    "sample weight": "the batch's sample weight",
    "target": "the batch's target",
    "upstream": "where the backward pass of the loss begins",
    "variable": "the value of that variable",
}


@dataclasses.dataclass
class Match:
    """What a unification found: role -> tensor, free constant -> value, matched graph nodes."""

    root: Tensor
    leaves: dict[str, Tensor]
    constants: dict[str, float]
    nodes: frozenset[int]


@dataclasses.dataclass(frozen=True)
class Miss:
    """The closest failed attempt: how many nodes agreed and the first difference."""

    agreed: int
    difference: str
    at: str


class Matcher:
    """Finds patterns in one graph."""

    def __init__(self, flat: FlatGraph, folder: Folder | None = None) -> None:
        self.flat = flat
        self.folder = folder or Folder(flat)
        self.by_op: dict[str, list[int]] = {}
        for node in flat.nodes:
            self.by_op.setdefault(node.op, []).append(node.index)

    def candidates(self, pattern: Pattern, root: Tensor) -> list[Tensor]:
        index, output = pattern.flat.through(root)
        return [(i, output) for i in self.by_op.get(pattern.flat.nodes[index].op, ())]

    def _candidates_within(
        self, pattern: Pattern, root: Tensor, within: Collection[int] | None
    ) -> list[Tensor]:
        """Those candidates that take inputs of the right ops: unification would refuse others."""
        index, output = pattern.flat.through(root)
        op, nodes = pattern.flat.nodes[index].op, self.flat.nodes
        every: Iterable[int] = self.by_op.get(op, ())
        if within is not None:
            if len(within) < len(self.by_op.get(op, ())):
                every = (i for i in sorted(within) if nodes[i].op == op)
            else:
                every = (i for i in every if i in within)
        wanted = pattern.inputs(root)
        if is_commutative(op):
            needed = {name for name in wanted if name is not None}
            return [(i, output) for i in every if needed <= {nodes[s].op for s, _ in nodes[i].data}]
        fixed = [(place, name) for place, name in enumerate(wanted) if name is not None]
        return [
            (i, output)
            for i in every
            if len(nodes[i].data) == len(wanted)
            and all(nodes[nodes[i].data[place][0]].op == name for place, name in fixed)
        ]

    def unify(
        self,
        pattern: Pattern,
        root: Tensor,
        target: Tensor,
        predicates: Mapping[str, Predicate],
        bound: Mapping[str, Tensor] | None = None,
    ) -> Match | Miss:
        """Unifies `root` of the pattern with `target`; `bound` fixes roles beforehand."""
        attempt = _Attempt(self, pattern, predicates, dict(bound or {}))
        if not attempt.tensor(pattern.flat.through(root), self.flat.through(target)):
            return attempt.miss
        return Match(
            target,
            dict(attempt.leaves),
            dict(attempt.constants),
            frozenset(attempt.pairs.values()),
        )

    def find(
        self,
        pattern: Pattern,
        root: Tensor,
        predicates: Mapping[str, Predicate],
        within: Collection[int] | None = None,
    ) -> tuple[list[Match], Miss | None]:
        """All matches of `root`, and the nearest miss among the candidates that failed."""
        matches: list[Match] = []
        nearest: Miss | None = None
        for target in self._candidates_within(pattern, root, within):
            result = self.unify(pattern, root, target, predicates)
            if isinstance(result, Match):
                matches.append(result)
            elif nearest is None or result.agreed > nearest.agreed:
                nearest = result
        return matches, nearest


class _Attempt:
    """One unification, with a trail so that a commutative retry undoes what it bound."""

    def __init__(
        self,
        matcher: Matcher,
        pattern: Pattern,
        predicates: Mapping[str, Predicate],
        leaves: dict[str, Tensor],
    ) -> None:
        self.matcher, self.flat, self.pattern = matcher, matcher.flat, pattern
        self.predicates = predicates
        self.leaves = leaves
        self.constants: dict[str, float] = {}
        self.pairs: dict[int, int] = {}
        self.trail: list[tuple[dict[Any, Any], Any]] = []
        self.miss = Miss(-1, "nothing agrees", "")

    def tensor(self, expected: Tensor, found: Tensor) -> bool:
        """Unifies two tensors behind any identities, as all of a node's `data` are."""
        role = self.pattern.leaves.get(expected[0])
        if role is not None:
            return self._leaf(role, found)
        if expected[1] != found[1]:
            return self._differ(found, f"output {found[1]}, expected output {expected[1]}")
        known = self.pairs.get(expected[0])
        if known is not None:
            again = known == found[0] or self._same_constant((known, expected[1]), found)
            return again or self._differ(found, "another tensor than before")
        return self._node(self.pattern.flat.nodes[expected[0]], self.flat.nodes[found[0]])

    def _leaf(self, role: str, found: Tensor) -> bool:
        bound = self.leaves.get(role)
        if bound is not None and role not in self.pattern.many:
            return bound == found or self._differ(found, f"a second {role}")
        predicate = self.predicates.get(role)
        if predicate is not None and not predicate(found):
            return self._differ(found, f"not {_ROLES.get(role, role)}")
        self._bind(self.leaves, role, found)
        return True

    def _node(self, expected: Node, found: Node) -> bool:
        variable = self.pattern.flat.variables.get(expected.index)
        if variable is not None:
            other = self.flat.variables.get(found.index)
            if other is not None and other.key == variable.key:
                self._bind(self.pairs, expected.index, found.index)
                return True
            return self._differ((found.index, 0), f"not the variable {variable.path}")
        if expected.op == "Const" or found.op == "Const":
            return self._constant(expected, found)
        if expected.op != found.op:
            return self._differ((found.index, 0), f"{found.op}, expected {expected.op}")
        if (name := _different_attr(expected, found)) is not None:
            return self._differ((found.index, 0), f"{found.op} with another {name}")
        if len(expected.data) != len(found.data):
            return self._differ((found.index, 0), f"{found.op} of {len(found.data)} inputs")
        self._bind(self.pairs, expected.index, found.index)
        return self._inputs(expected, found)

    def _constant(self, expected: Node, found: Node) -> bool:
        """Constants agree by value, whether written down or folded from other constants."""
        value = self.matcher.folder.value((found.index, 0))
        if value is None:
            return self._differ((found.index, 0), f"{found.op}, expected a constant")
        name = self.pattern.free.get(expected.index)
        if name is not None:
            if np.size(value) != 1:
                return self._differ((found.index, 0), f"not a scalar {name}")
            known = self.constants.get(name)
            if known is not None and not math.isclose(known, float(value), rel_tol=1e-6):
                return self._differ((found.index, 0), f"a second {name}")
            self._bind(self.constants, name, float(value))
            return True
        wanted = self.pattern.folder.value((expected.index, 0))
        if wanted is None:
            return self._differ((found.index, 0), f"a constant, expected {expected.op}")
        if not same_value(wanted, value):
            told, meant = shown_apart(value, wanted)
            return self._differ((found.index, 0), f"{told}, expected {meant}")
        self._bind(self.pairs, expected.index, found.index)
        return True

    def _same_constant(self, one: Tensor, other: Tensor) -> bool:
        """A gradient of a branch has copies of the constants that its forward pass has."""
        value, another = self.matcher.folder.value(one), self.matcher.folder.value(other)
        return value is not None and another is not None and same_value(value, another)

    def _inputs(self, expected: Node, found: Node) -> bool:
        wanted, given = expected.data, found.data
        for order in _orders(expected.op, len(wanted)):
            mark = len(self.trail)
            for tensor, place in zip(wanted, order, strict=True):
                if not self.tensor(tensor, given[place]):
                    break
            else:
                return True
            self._undo(mark)
        self.pairs.pop(expected.index, None)
        return False

    def _bind(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        table[key] = value
        self.trail.append((table, key))

    def _undo(self, mark: int) -> None:
        while len(self.trail) > mark:
            table, key = self.trail.pop()
            table.pop(key, None)

    def _differ(self, found: Tensor, difference: str) -> bool:
        if len(self.pairs) > self.miss.agreed:
            self.miss = Miss(len(self.pairs), difference, self.flat.node(found).id)
        return False


@functools.cache
def _orders(op: str, count: int) -> tuple[tuple[int, ...], ...]:
    """The orders in which the inputs of an op may be compared."""
    if is_commutative(op) and 1 < count <= _MAX_PERMUTED:
        return tuple(itertools.permutations(range(count)))
    return (tuple(range(count)),)


def _different_attr(expected: Node, found: Node) -> str | None:
    ours, theirs = expected.settings, found.settings
    if ours is theirs:
        return None
    return next((name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]), None)


def same_value(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Equal constants: same shape and dtype, floats to a few units in the last place."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.tobytes() == b.tobytes():
        return True
    if np.issubdtype(a.dtype, np.floating):
        rtol = 4 * float(np.finfo(a.dtype).eps)
        return bool(np.allclose(a, b, rtol=rtol, atol=0, equal_nan=True))
    return bool(np.array_equal(a, b))


def shown_apart(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> tuple[str, str]:
    """Two constants that differ, as a person would write them, such that the texts differ too."""
    texts = _shown(one), _shown(other)
    if texts[0] != texts[1]:
        return texts
    if one.shape != other.shape or not one.shape:
        return repr(one.tolist()), repr(other.tolist())
    apart = np.argwhere(one != other)
    at = tuple(apart[0]) if len(apart) else (0,) * one.ndim
    place = ", ".join(str(index) for index in at)
    first, second = (
        f"{text} with {value[at]} at [{place}]"
        for text, value in zip(texts, (one, other), strict=True)
    )
    return first, second


def _shown(value: np.ndarray[Any, Any]) -> str:
    if np.size(value) == 1 and value.dtype.kind in "fiu":
        return f"{value.reshape(()).item():.6g}"
    if np.size(value) == 1:
        return str(value)
    return f"{value.dtype}{list(value.shape)}"
