"""Which clips lie on every path of a gradient to the update that it trains.

Where it is known what enters the optimizer, its values tell (`verify.find.treatments`); else the
structure does: a clip is found by its ops and counts as one if it is a cut: no path from a
backward pass's seed to the update avoids it, and no forward value enters after it. A global norm
has to be that of exactly the gradients that are scaled by it. Parts of a gradient that are clipped
one by one and then added up are no clipped gradient.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator

import numpy as np

from verify.find.treatments import Treatment, Treatments
from verify.flow import Flow, Update
from verify.graphs import CASES, IFS, REDUCTIONS, WHILES, Tensor
from verify.match import ROUNDED, Match, Pattern, Predicate
from verify.references import global_norm_patterns, norm_patterns, scale_patterns, value_patterns

_CHANGED = "its gradient is changed after the clip"
_ROUNDED = 1e-3  # how far values may be off bounds that are written down
_MERGES = IFS | CASES | WHILES  # ops that hand on one of their inputs, and add nothing

Bounds = tuple[str, float, float]
"""Kind and bounds: ``("value", lo, hi)``, ``("norm", 0, n)`` or ``("global_norm", 0, n)``."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip on the way to one update; `complete` if the update's gradient is clipped so.

    `misses` tells why it is not. `alike`: kinds that are the same for this variable. `scale`: what
    the bounds may as well be divided by, where it is not known whether that is a part of the rate.
    """

    kind: str
    lower: float
    upper: float
    node: int
    misses: str = ""
    alike: frozenset[str] = frozenset()
    scale: float = 1.0

    @property
    def complete(self) -> bool:
        return not self.misses

    def is_to(self, bounds: Bounds, rtol: float = 1e-5) -> bool:
        """Whether it clips to these bounds, or to such as are the same for this variable."""
        return self.is_between(bounds, bounds, rtol)

    def is_between(self, one: Bounds, other: Bounds, rtol: float = 1e-5) -> bool:
        """Whether each of its bounds is between those of two clips of one kind."""
        if self.scale != 1:
            lower, upper = sorted((self.lower / self.scale, self.upper / self.scale))
            plain = dataclasses.replace(self, scale=1.0)
            divided = dataclasses.replace(plain, lower=lower, upper=upper)
            return divided.is_between(one, other, rtol) or plain.is_between(one, other, rtol)
        kind, own = one[0], (self.kind, self.lower, self.upper)
        if kind != self.kind:
            if not {kind, self.kind} <= self.alike:
                return False
            # Of a number the norm is its size.
            own, one, other = (
                (of, low if of == "value" else -high, high) for of, low, high in (own, one, other)
            )
        least, most = np.sort(np.asarray([one[1:], other[1:]]), 0)
        return bool(
            np.all(own[1:] >= least - rtol * np.abs(least))
            and np.all(own[1:] <= most + rtol * np.abs(most))
        )

    def __str__(self) -> str:
        return describe((self.kind, self.lower, self.upper))


def describe(bounds: Bounds) -> str:
    return describe_between(bounds, bounds)


def describe_between(one: Bounds, other: Bounds) -> str:
    """Bounds that are each between two, in words."""
    kind = one[0]
    lower, upper = (
        f"{a:.6g}" if a == b else f"{min(a, b):.6g} to {max(a, b):.6g}"
        for a, b in zip(one[1:], other[1:], strict=True)
    )
    return f"[{lower}, {upper}]" if kind == "value" else f"{kind.replace('_', ' ')} {upper}"


@dataclasses.dataclass(frozen=True)
class _Scaled:
    """A gradient that is scaled by a global norm."""

    gradient: Tensor
    norm: Tensor


def _scaled(clip: Clip, factor: float | None) -> Clip:
    """A clip with what becomes of its bounds until the optimizer, if that is a multiple."""
    if factor is None:
        return dataclasses.replace(clip, misses=_CHANGED)
    lower, upper = sorted((clip.lower * factor, clip.upper * factor))
    return dataclasses.replace(clip, lower=lower, upper=upper)


class Clips:
    """Finds clips in one graph, or in one branch; `clipped`: what they take, by node of a clip."""

    def __init__(self, flow: Flow, treatments: Treatments) -> None:
        self.flow, self.flat, self.treatments = flow, flow.flat, treatments
        self._scaled: dict[int, _Scaled] = {}
        self._ops_of: dict[int, frozenset[int]] = {}
        self.clipped: dict[int, Tensor] = {}

    def ops(self, clip: Clip) -> frozenset[int]:
        """The nodes that clip."""
        return self._ops_of[clip.node]

    def of(self, update: Update) -> list[Clip]:
        """Clips on the gradient of one update: by values where they tell, else by structure."""
        known = self._all.get(update.node.index, [])
        treatment = self.treatments.of(update)
        if treatment is None:
            return known
        aside = [
            clip
            for clip in known
            if not clip.complete or clip.node not in self.treatments.between(update)
        ]
        if treatment.kind == "same":
            return aside
        if treatment.kind != "other":
            return [self._named(update, treatment, known), *aside]
        # Several, one after the other: what the last one makes is what enters the optimizer.
        complete = sorted((c for c in known if c.complete), key=lambda clip: clip.node)
        factor = self.treatments.kept(update, (complete[-1].node, 0)) if complete else None
        return [clip if not clip.complete else _scaled(clip, factor) for clip in known]

    def _named(self, update: Update, treatment: Treatment, known: list[Clip]) -> Clip:
        """A clip that was found by values; by structure too, perhaps."""
        misses = self._norm_of_some(treatment)
        bounds = treatment.kind, treatment.lower, treatment.upper
        together = "global_norm", treatment.lower, treatment.upper
        for clip in reversed(known):
            if clip.is_to(bounds, _ROUNDED):
                return dataclasses.replace(clip, misses=misses)
            if treatment.kind == "norm" and clip.is_to(together, _ROUNDED):
                return clip
        node = self.treatments.entry(update)[0]
        self._ops_of[node] = self.treatments.between(update)
        return Clip(*bounds, node, misses, self._alike(update), treatment.scale)

    def _alike(self, update: Update) -> frozenset[str]:
        """The kinds of clip that do the same to one gradient: that of a number, or the only one."""
        number = all(n == 1 for n in update.variable.shape)
        found = ({"value"} if number else set()) | ({"global_norm"} if self._is_alone else set())
        return frozenset(found | {"norm"})

    @property
    def _is_alone(self) -> bool:
        return len(self.flow.trained_of) == 1

    def _norm_of_some(self, treatment: Treatment) -> str:
        trained = len(self.flow.trained_of)
        if treatment.kind != "global_norm" or treatment.gradients == trained:
            return ""
        return f"by a norm of {treatment.gradients} of {trained} gradients"

    @functools.cached_property
    def _all(self) -> dict[int, list[Clip]]:
        """By the node of each trained update."""
        clips: dict[int, list[Clip]] = {}
        # Clips of one kind on gradients of one shape are judged together: they may share an update.
        alike: dict[tuple[Bounds, object], list[int]] = {}
        for node, bounds in self._candidates.items():
            alike.setdefault((bounds, self.flat.shape((node, 0))), []).append(node)
        for (bounds, shape), nodes in alike.items():
            updates = [u for u in self.flow.trained if u.variable.shape == shape]
            for update, node, misses in self._judged(frozenset(nodes), updates):
                clips.setdefault(update.node.index, []).append(
                    Clip(*bounds, node, misses, self._alike(update))
                )
        # One norm scales many gradients: it is looked at once.
        told: dict[Tensor | None, str] = {
            norm: self._norm_misses(norm, clips) for norm in self._norms(clips)
        }
        return {
            index: [
                dataclasses.replace(clip, misses=clip.misses or told.get(self._norm_of(clip), ""))
                for clip in found
            ]
            for index, found in clips.items()
        }

    # -- what is there ------------------------------------------------------------------------

    @functools.cached_property
    def _candidates(self) -> dict[int, Bounds]:
        """What clips a tensor of the backward pass, by node."""
        flow, found = self.flow, dict[int, Bounds]()
        kinds = {(len(u.variable.shape), u.variable.dtype) for u in flow.trained}
        for dtype in sorted({dtype for _, dtype in kinds}):
            for match in self._matches(value_patterns(dtype)):
                if self._is_of_state(match.leaves["gradient"]):
                    continue
                self._keep(match)
                sides = [
                    flow.folder.value(match.leaves[f"{side} bound"]) for side in ("lower", "upper")
                ]
                lower, upper = (b for b in sides if b is not None)
                # Bounds may differ by element: it is clipped to the widest.
                found[match.root[0]] = ("value", float(np.min(lower)), float(np.max(upper)))
        for rank, dtype in sorted(kinds):
            for match in self._matches(norm_patterns(rank, dtype)):
                self._keep(match)
                found[match.root[0]] = ("norm", 0.0, match.constants["norm"])
            for match in self._matches(scale_patterns(rank, dtype)):
                self._keep(match)
                norm = match.constants["norm"]
                exact = 2 * ROUNDED.get(dtype, 5e-6)  # a norm and its inverse, both rounded
                if np.isclose(norm * match.constants.get("inverse", 1 / norm), 1, rtol=exact):
                    found[match.root[0]] = ("global_norm", 0.0, norm)
                    self._scaled[match.root[0]] = _Scaled(
                        match.leaves["gradient"], match.leaves["global norm"]
                    )
        return found

    def _is_of_state(self, gradient: Tensor) -> bool:
        """Whether what is bounded holds, besides a gradient, its variable and what is kept of it.

        That is a step size, which FTRL decides by the strength of its L1, and no gradient.
        """
        flow, nodes = self.flow, self.flat.nodes
        after = flow.ancestors([gradient[0]]) & flow.backward
        after_tape = after - flow.inner - flow.propagated  # a regulariser takes its variable there
        taken = {source for i in after_tape for source, _ in nodes[i].data} - flow.backward
        shape = self.flat.shape(gradient)
        read = [self.flat.variable(nodes[i]) for i in flow.ancestors(taken, without=flow.backward)]
        alike = {v.key: v for v in read if v is not None and v.shape == shape}
        return {flow.is_trainable(v) for v in alike.values()} == {True, False}

    def _keep(self, match: Match) -> None:
        self._ops_of[match.root[0]] = match.nodes
        self.clipped[match.root[0]] = match.leaves["gradient"]

    def _matches(self, patterns: list[Pattern]) -> Iterator[Match]:
        flow = self.flow
        predicates: dict[str, Predicate] = {
            "gradient": lambda t: t[0] in flow.backward,
            "global norm": lambda t: t[0] in flow.backward,
            "lower bound": lambda t: flow.folder.value(t) is not None,
            "upper bound": lambda t: flow.folder.value(t) is not None,
        }
        for pattern in patterns:
            if pattern.ops <= self._ops:
                yield from flow.matcher.find(pattern, pattern.roots[0], predicates, flow.backward)[
                    0
                ]

    @functools.cached_property
    def _ops(self) -> frozenset[str]:
        return frozenset(self.flat.nodes[index].op for index in self.flow.backward)

    # -- whether it is a cut ------------------------------------------------------------------

    def _judged(
        self, clips: frozenset[int], updates: list[Update]
    ) -> Iterator[tuple[Update, int, str]]:
        """Each update below a clip, that clip, and why it does not clip the update's gradient.

        That a gradient is finite is no gradient: a loss scale is adapted to it.
        """
        flow = self.flow
        aside = flow.checks | self._factors
        around = flow.descendants((s.node for s in flow.seeds), without=clips | aside)
        below = {clip: flow.descendants([clip], without=aside) for clip in clips}
        after = set[int]().union(*below.values()) - clips
        changed = flow.descendants(after & flow.entries, without=aside)
        # Scaled again and then unscaled, as for an optimizer that unscales itself, is no change.
        scaling = after & self._takes_scale
        unscaled = flow.descendants(
            index
            for index in scaling
            if len(scaling & flow.descendants([index]))
            == len(scaling & flow.ancestors([index]))
            == 1
        )
        added = flow.descendants(self._sums(clips, after), without=aside)
        updated = {update.node.index for update in updates}
        above: dict[int, list[int]] = {}
        for clip in sorted(clips):
            for index in below[clip] & updated:
                above.setdefault(index, []).append(clip)
        for update in updates:
            index = update.node.index
            misses = ""
            if index in around:
                misses = "part of its gradient goes around the clip"
            elif index in changed:
                misses = _CHANGED
            elif index in unscaled:
                misses = "it is divided by the loss scale after the clip"
            elif index in added:
                misses = "only parts of its gradient are, which are added up after it"
            for clip in above.get(index, ()):
                yield update, clip, misses

    @functools.cached_property
    def _factors(self) -> frozenset[int]:
        """What makes factors of global norms, and nothing else.

        By way of it all gradients depend on each other, but are not added to each other: a factor
        is at most one.
        """
        inside = set[int]().union(*(self._ops_of[root] for root in self._scaled))
        consumers = self.flow.consumers
        return frozenset(i for i in inside - set(self._scaled) if inside.issuperset(consumers[i]))

    @functools.cached_property
    def _takes_scale(self) -> set[int]:
        """Nodes that take a forward value which is computed from a loss scale."""
        flow = self.flow
        reads = [node.index for node, v in self.flat.reads() if v.key in flow.scales]
        of_scale = flow.descendants(reads) - flow.backward
        return {user for index in of_scale for user in flow.consumers[index]} & flow.backward

    def _sums(self, clips: Collection[int], after: set[int]) -> set[int]:
        """Where what was clipped is added to what another clip, or another replica, clipped.

        Where replicas have added up their gradients before, each clips the same: the whole one.
        """
        if all(self._is_whole(clip) for clip in clips):
            return set()
        nodes, pieces = self.flat.nodes, self.flow.pieces
        found = {index for index in after if nodes[index].op in REDUCTIONS}
        clipped = after | set(clips)
        for index in after:
            for tensor in nodes[index].data:
                piece = pieces.get(tensor)
                if piece is not None and piece.tensor[0] in clipped:
                    found.add(index)
        if len(clips) > 1:
            found |= self._meetings(clips, after)
        return found

    def _is_whole(self, clip: int) -> bool:
        """Whether what is clipped is what replicas have added up among them."""
        gradient = self.clipped[clip]
        while self.flat.node(gradient).op == "Reshape":
            gradient = self.flat.node(gradient).data[0]
        return gradient in self.flow.pieces or self.flat.node(gradient).op in REDUCTIONS

    def _meetings(self, clips: Collection[int], after: set[int]) -> set[int]:
        """Nodes whose inputs come from different clips, other than by way of state."""
        nodes = self.flat.nodes
        # Of one gradient, clipped on each replica, it is the same; of others it is another part.
        origins = {clip: frozenset({self.clipped[clip]}) for clip in clips}
        met: set[int] = set()
        for index in sorted(after):
            sources = [origins.get(source, frozenset()) for source, _ in nodes[index].data]
            origins[index] = frozenset[Tensor]().union(*sources)
            if len(origins[index]) > 1 and nodes[index].op not in _MERGES:
                met.add(index)
        return met

    # -- whether a global norm is that of all gradients ----------------------------------------

    def _norm_of(self, clip: Clip) -> Tensor | None:
        scaled = self._scaled.get(clip.node)
        return None if scaled is None else scaled.norm

    def _norms(self, found: dict[int, list[Clip]]) -> set[Tensor]:
        """The global norms by which gradients are scaled."""
        norms = (self._norm_of(clip) for clips in found.values() for clip in clips)
        return {norm for norm in norms if norm is not None}

    def _norm_misses(self, norm: Tensor, found: dict[int, list[Clip]]) -> str:
        """How a global norm differs from that of all gradients; empty if it does not."""
        roots: dict[int, None] = {}
        covered: set[int | str] = set()
        for update in self.flow.trained:
            clips = found.get(update.node.index, [])
            mine = [clip.node for clip in clips if self._norm_of(clip) == norm]
            roots.update(dict.fromkeys(mine))
            covered.update(update.variable.key for _ in mine)
        trained = {update.variable.key for update in self.flow.trained}
        if covered != trained:
            return f"by a norm of {len(covered)} of {len(trained)} gradients"
        scaled = [self._scaled[root].gradient for root in roots]
        specs = tuple(self.flow.spec(gradient) for gradient in scaled)
        for pattern in global_norm_patterns(specs):
            result = self.flow.matcher.unify(pattern, pattern.roots[0], norm, {})
            if isinstance(result, Match) and set(result.leaves.values()) == set(scaled):
                return ""
        return f"by a norm that is not of the {len(scaled)} gradients scaled by it"
