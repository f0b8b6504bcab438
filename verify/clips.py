"""Which clips lie on every path of a gradient to the update that it trains.

A clip is found by structure (`clip_reference`) and counts as one if it is a cut: no path from a
backward pass's seed to the update avoids it, and no forward value enters after it. A global norm
has to be that of exactly the gradients that are scaled by it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from verify.clip_reference import (
    global_norm_patterns,
    norm_patterns,
    scale_patterns,
    value_patterns,
)
from verify.dataflow import Flow, Update
from verify.graph import Tensor
from verify.match import Match, Pattern, Predicate

# Ops that tell whether a number is one.
_FINITENESS = {"IsFinite", "IsInf", "IsNan"}

Bounds = tuple[str, float, float]
"""Kind and bounds: ``("value", lo, hi)``, ``("norm", 0, n)`` or ``("global_norm", 0, n)``."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip on the way to one update; `complete` if no path goes around it.

    `misses` tells how a global norm is not that of all gradients.
    """

    kind: str
    lower: float
    upper: float
    node: int
    complete: bool
    misses: str = ""

    def __str__(self) -> str:
        return describe((self.kind, self.lower, self.upper))


def describe(bounds: Bounds) -> str:
    kind, lower, upper = bounds
    if kind == "value":
        return f"[{lower:.6g}, {upper:.6g}]"
    return f"{kind.replace('_', ' ')} {upper:.6g}"


@dataclasses.dataclass(frozen=True)
class _Scaled:
    """A gradient that is scaled by a global norm."""

    gradient: Tensor
    norm: Tensor


class Clips:
    """Finds clips in one graph, or in one branch of it."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.flat = flow, flow.flat
        self._scaled: dict[int, _Scaled] = {}
        self._matched: dict[int, list[Match]] = {}

    @functools.cached_property
    def _all(self) -> dict[int, list[Clip]]:
        """By the node of each trained update."""
        found = {update.node.index: self._candidates(update) for update in self.flow.trained}
        judged = {
            update.node.index: self._judged(update, found[update.node.index])
            for update in self.flow.trained
        }
        return {
            node: [
                dataclasses.replace(clip, complete=False, misses=misses)
                if clip.kind == "global_norm" and (misses := self._norm_misses(clip, judged))
                else clip
                for clip in clips
            ]
            for node, clips in judged.items()
        }

    def of(self, update: Update) -> list[Clip]:
        return self._all[update.node.index]

    def _candidates(self, update: Update) -> dict[int, Bounds]:
        """What clips the variable's shape above an update, by node."""
        flow, shape, dtype = self.flow, update.variable.shape, update.variable.dtype
        above = flow.ancestors([update.node.index])
        found: dict[int, Bounds] = {}
        for match in self._matches(value_patterns(dtype), above):
            sides = [
                flow.folder.value(match.leaves[f"{side} bound"]) for side in ("lower", "upper")
            ]
            lower, upper = (float(np.min(b)) for b in sides if b is not None)
            if self.flat.shape(match.root) == shape:
                found[match.root[0]] = ("value", lower, upper)
        for match in self._matches(norm_patterns((shape, dtype)), above):
            if self.flat.shape(match.root) == shape:
                found[match.root[0]] = ("norm", 0.0, match.constants["norm"])
        for match in self._matches(scale_patterns((shape, dtype)), above):
            norm = match.constants["norm"]
            fits = np.isclose(norm * match.constants.get("inverse", 1 / norm), 1, rtol=1e-5)
            if fits and self.flat.shape(match.root) == shape:
                found[match.root[0]] = ("global_norm", 0.0, norm)
                self._scaled[match.root[0]] = _Scaled(
                    match.leaves["gradient"], match.leaves["global norm"]
                )
        return found

    def _matches(self, patterns: list[Pattern], above: set[int]) -> Iterator[Match]:
        """The clips of these patterns among the nodes `above` an update."""
        for pattern in patterns:
            if id(pattern) not in self._matched:  # the pattern functions keep what they return
                self._matched[id(pattern)] = self._match(pattern)
            yield from (match for match in self._matched[id(pattern)] if match.root[0] in above)

    def _match(self, pattern: Pattern) -> list[Match]:
        flow = self.flow
        predicates: dict[str, Predicate] = {
            "gradient": lambda t: t[0] in flow.backward,
            "global norm": lambda t: t[0] in flow.backward,
            "lower bound": lambda t: flow.folder.value(t) is not None,
            "upper bound": lambda t: flow.folder.value(t) is not None,
        }
        return flow.matcher.find(pattern, pattern.roots[0], predicates, flow.backward)[0]

    def _judged(self, update: Update, found: dict[int, Bounds]) -> list[Clip]:
        # A step may go back several times: what an earlier pass left in a slot was clipped there.
        above = self.flow.ancestors([update.node.index]) if found else set[int]()
        alike = {
            bounds: frozenset(node for node, other in found.items() if other == bounds)
            for bounds in found.values()
        }
        complete = {b: self._are_last_cut(nodes, update, above) for b, nodes in alike.items()}
        return [Clip(*bounds, node, complete[bounds]) for node, bounds in found.items()]

    def _are_last_cut(self, clips: frozenset[int], update: Update, above: set[int]) -> bool:
        """Every path from a seed to the update passes a clip, and no forward value enters after.

        That a gradient is finite is no gradient: a loss scale is adapted to it.
        """
        flow = self.flow
        checks = (n.index for n in self.flat.nodes if n.op in _FINITENESS)
        without = clips.union(checks)
        around = flow.descendants((s.node for s in flow.seeds), without=without)
        if update.node.index in around:
            return False
        after = (flow.descendants(clips) & above) - clips
        return not any(
            source in flow.of_data and source not in flow.backward
            for index in after
            for source, _ in self.flat.nodes[index].data
        )

    def _norm_misses(self, clip: Clip, found: dict[int, list[Clip]]) -> str:
        """How a global norm differs from that of all gradients; empty if it does not."""
        norm = self._scaled[clip.node].norm
        roots: dict[int, None] = {}
        covered: set[int | str] = set()
        for update in self.flow.trained:
            mine = [c.node for c in found[update.node.index] if c.node in self._scaled]
            mine = [root for root in mine if self._scaled[root].norm == norm]
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
