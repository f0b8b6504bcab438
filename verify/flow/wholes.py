"""What a backward pass differentiates: of tensors that may be its loss, the one that it follows.

A seed by itself says little: the gradients of many ops begin alike, and a sum hands its upstream
gradient on to what it adds up. So the pass is gone through from a loss as a tape goes: each op's
gradient by what it takes has to be there, made of the gradient by what it makes.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterator

from verify.flow.dependence import SUMS, Dependence
from verify.graphs import Node, Tensor
from verify.match import Match, Pattern
from verify.references import Operand, VjpReferences

VJP = VjpReferences()
DEPTH = 12  # how far below the gradient by what an op makes those by what it takes may lie
_FOLLOWED = 24  # ops that are gone through besides those that take a seed
_NEAR = 1 << 8  # nodes of which is remembered what depends on them
_AHEAD = 4  # ops behind one another by which gradients are told apart that begin alike


@dataclasses.dataclass(frozen=True, order=True)
class Doubt:
    """How little a backward pass is that of a loss: of several, the least is the one.

    Args:
        unexplained: how many of the ops that take the seed are not in the gradient of the loss.
        missing: which share of the gradients that were looked for is not there.
        left_out: how much of what the pass takes, and is used, the loss is not made of.
        size: of how much it is made.
    """

    unexplained: int
    missing: float
    left_out: int
    size: int

    @property
    def is_explained(self) -> bool:
        """Whether all of a pass is that of the loss: what it takes nothing of is no likelier."""
        return not self.unexplained and not self.missing


@dataclasses.dataclass(frozen=True)
class _Gradient:
    """The gradient by one of the inputs of an op; `at` is None where it is not there.

    `nodes`: what it is made of.
    """

    by: Tensor
    at: Tensor | None
    nodes: frozenset[int]


class Wholes:
    """Answers about the backward passes of one graph, or of one branch of it."""

    def __init__(self, flow: Dependence) -> None:
        self.flow, self.flat = flow, flow.flat
        # Of one pass, the last that was asked for: passes have little in common.
        self._seed: int | None = None
        self._taken: frozenset[int] | None = None
        self._near: dict[int, dict[str, list[tuple[int, int]]]] = {}
        self._gradients: dict[tuple[Tensor, Tensor, int], list[_Gradient]] = {}

    def sums(self, seed: int, loss: Tensor) -> list[Tensor]:
        """A loss, and the sums that it is a part of where the backward pass from `seed` is not."""
        found, below = [loss], self.flow.below(seed)
        for tensor in found:
            for user in self.flow.consumers[tensor[0]]:
                node = self.flat.nodes[user]
                if node.op in SUMS and tensor in node.data and user not in below:
                    found += [(user, 0)] if (user, 0) not in found else []
        return found

    def of(self, seed: int, loss: Tensor) -> Tensor:
        """The loss, or the sum that it is a part of: which of them the pass goes back from."""
        sums = self.sums(seed, loss)
        return sums[0] if len(sums) == 1 else min(sums, key=lambda one: self.doubt(seed, one))

    def least_doubt(self, seed: int, loss: Tensor) -> Doubt:
        """That of the loss, or of the sum that it is a part of."""
        return min(self.doubt(seed, one) for one in self.sums(seed, loss))

    def doubt(self, seed: int, loss: Tensor) -> Doubt:
        """How little a pass is that of this very tensor."""
        self._turn_to(seed)
        users = {user for user in self.flow.consumers[seed] if user in self.flow.used}
        queue, seen = collections.deque([(loss, (seed, 0))]), {(loss, (seed, 0))}
        there, missing, left = 0, 0, _FOLLOWED + len(users)
        while queue and left > 0:
            gradients = self._by_inputs(*queue.popleft(), _AHEAD)
            for gradient in gradients:
                users -= gradient.nodes
                if gradient.at is None:
                    missing += 1
                    continue
                there += bool(gradient.nodes)
                if (way := (gradient.by, gradient.at)) not in seen:
                    seen.add(way)
                    queue.append(way)
            left -= any(gradient.nodes or gradient.at is None for gradient in gradients)
        above = self.flow.ancestors([loss[0]])
        share = missing / (there + missing) if missing else 0.0
        return Doubt(len(users), share, len(self._taken_by(seed) - above), len(above))

    def related(self, seed: int) -> set[int]:
        """What is made of what a pass takes, and the parts of sums that are.

        Of all others, `Doubt.left_out` is all that it takes.
        """
        self._turn_to(seed)
        below = self.flow.below(seed)
        found = self.flow.descendants(self._taken_by(seed))
        stack = [*found]
        while stack:
            index = stack.pop()
            if self.flat.nodes[index].op in SUMS and index not in below:
                parts = {source for source, _ in self.flat.nodes[index].data} - found
                found |= parts
                stack += parts
        return found

    def near(self, index: int) -> dict[str, list[tuple[int, int]]]:
        """What depends on a node by a few ops, by op type: (node, how many ops)."""
        if index not in self._near:
            if len(self._near) > _NEAR:
                self._near.clear()
            found: dict[str, list[tuple[int, int]]] = {}
            for other, hops in self.flow.distances(index, DEPTH).items():
                found.setdefault(self.flat.nodes[other].op, []).append((other, hops))
            self._near[index] = found
        return self._near[index]

    def fed(self, reference: Pattern, upstream: Tensor) -> Iterator[Match]:
        """Where the gradient of an op is, of this gradient by what it makes."""
        root = reference.roots[0]
        op = reference.flat.node(reference.flat.through(root)).op
        there = self.near(upstream[0]).get(op, ())
        least = reference.hops("upstream", root) if there else None
        for index, hops in there:
            if least is None or hops > least:  # it takes the upstream by a shorter way
                continue
            match = self.flow.matcher.unify(
                reference, root, (index, root[1]), {}, {"upstream": upstream}
            )
            if isinstance(match, Match):
                yield match

    def operand(self, tensor: Tensor) -> Operand:
        """An op's input, as references of gradients are told apart by."""
        value = self.flow.folder.value(tensor)
        return Operand(self.flow.spec(tensor), None if value is None else value.tobytes())

    def _taken_by(self, seed: int) -> frozenset[int]:
        """What the backward pass takes of the forward pass, where it leads to what is written."""
        if self._taken is None:
            below = self.flow.below(seed) & self.flow.used
            taken = {source for index in below for source, _ in self.flat.nodes[index].data}
            # What the pass takes may be computed for it alone: of a power, another power.
            above = self.flow.ancestors(taken - below)
            self._taken = frozenset(above & self.flow.of_weights)
        return self._taken

    def _turn_to(self, seed: int) -> None:
        """Forgets what is known of another pass."""
        if seed != self._seed:
            self._seed, self._taken = seed, None
            self._near.clear()
            self._gradients.clear()

    def _by_inputs(self, made: Tensor, upstream: Tensor, ahead: int) -> list[_Gradient]:
        """The gradients by what an op takes that weights decide, of that by what it makes.

        `ahead`: by how many more ops they are told from others that begin alike.
        """
        key = made, upstream, ahead
        if key not in self._gradients:
            self._gradients[key] = list(self._found(self.flat.through(made), upstream, ahead))
        return self._gradients[key]

    def _found(self, made: Tensor, upstream: Tensor, ahead: int) -> Iterator[_Gradient]:
        node = self.flat.node(made)
        operands = [self.operand(tensor) for tensor in node.data]
        if any(operand.spec[1] in ("", "resource", "variant") for operand in operands):
            return
        for position, reference in VJP.of(node, made[1], operands):
            by = node.data[position]
            if by[0] not in self.flow.of_weights:
                continue
            if reference is None:
                yield _Gradient(by, upstream, frozenset())
                continue
            matches = self._matches(reference, node, upstream)
            if match := self._followed(by, matches, ahead):
                yield _Gradient(by, match.root, match.nodes)
            else:
                yield _Gradient(by, None, frozenset())

    def _matches(self, reference: Pattern, node: Node, upstream: Tensor) -> Iterator[Match]:
        """Where a gradient of this op is, of that by what it makes."""
        for start in self._with_sums(upstream):
            yield from (match for match in self.fed(reference, start) if self._takes(node, match))

    def _followed(self, by: Tensor, matches: Iterator[Match], ahead: int) -> Match | None:
        """Of gradients that are alike, of several means say, the one that goes on as it should."""
        found = next(matches, None)
        another = None if found is None or not ahead else next(matches, None)
        if found is None or another is None:
            return found
        least = self._missing(by, found.root, ahead)
        for match in itertools.chain([another], matches):
            if not least:
                break
            if (missing := self._missing(by, match.root, ahead)) < least:
                found, least = match, missing
        return found

    def _missing(self, made: Tensor, upstream: Tensor, ahead: int) -> int:
        """How many gradients are not there within a few ops."""
        if not ahead:
            return 0
        return sum(
            1 if gradient.at is None else self._missing(gradient.by, gradient.at, ahead - 1)
            for gradient in self._by_inputs(made, upstream, ahead - 1)
        )

    def _with_sums(self, upstream: Tensor) -> Iterator[Tensor]:
        """A gradient, and what it is added to those by other users of the same tensor in."""
        yield upstream
        for user in self.flow.consumers[upstream[0]]:
            node = self.flat.nodes[user]
            if node.op in SUMS - {"Sub"} and upstream in node.data:
                yield user, 0

    def _takes(self, node: Node, match: Match) -> bool:
        """Whether a gradient takes what the op itself takes."""
        return all(
            self.flat.through(tensor) == self.flat.through(node.data[int(role.split()[1])])
            for role, tensor in match.leaves.items()
            if role != "upstream"
        )
