"""Per backward pass: what it differentiates, and which variables it trains."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from verify.find import Detector, Found, known_losses
from verify.flow import Seed
from verify.formulas.calls import TAPE, Calls
from verify.formulas.expressions import Expression, written
from verify.formulas.terms import Terms
from verify.graphs import Node, Tensor, VariableRef, same_branch
from verify.references import known_name


@dataclasses.dataclass(frozen=True)
class ObjectiveFact:
    """What one backward pass differentiates, as a formula, and which variables it trains.

    `known`: whether it is a sum of losses that have a name, of a model's output and a target.
    `moved`: the variables that the step has written before the pass looks at them, for another
    pass or by hand: sharpness-aware steps do, and those who train one model after another.
    """

    formula: str
    variables: tuple[str, ...]
    known: bool
    moved: tuple[str, ...] = ()


def formulas(detector: Detector) -> list[ObjectiveFact]:
    """What the backward passes of a step differentiate that end in updates, in their order."""
    return _Formulas(detector).all


class _Formulas:
    def __init__(self, detector: Detector) -> None:
        self.detector, self.search = detector, detector.search
        self.flow, self.flat = detector.flow, detector.flat
        self.losses = known_losses(detector)

    @property
    def all(self) -> list[ObjectiveFact]:
        whole = {seed: self.flow.whole[seed] for seed in self._seeds}
        ends = {index for index, _ in whole.values()}
        # Another backward pass goes back through these.
        inner = [seed for seed in whole if ends & self.search.below(seed.node)]
        outer = [seed for seed in whole if seed not in inner]
        forward = self.flow.ancestors(index for index, _ in whole.values())
        calls, named = Calls(self.detector.step, self.flow, forward), self._named
        passes: dict[ObjectiveFact, list[Seed]] = {}
        for seed in outer:
            below = self.search.below(seed.node)
            paths = {u.variable.path for u in self.flow.trained if u.node.index in below}
            if not paths:
                continue
            terms = Terms(calls, named, self._begun_by(inner), _Names(self, seed).of)
            made = terms.objective(whole[seed])
            parts = made.parts if made.kind == "sum" else (made,)
            known = all(part in terms.named_losses and _is_plain(part) for part in parts)
            one = ObjectiveFact(written(made), tuple(sorted(paths)), known)
            passes.setdefault(one, []).append(seed)
        return [
            dataclasses.replace(one, moved=tuple(sorted(self._moved(seeds, whole))))
            for one, seeds in passes.items()
        ]

    def _moved(self, seeds: Sequence[Seed], whole: Mapping[Seed, Tensor]) -> set[str]:
        """What is read for passes that are alike after it was written by anything but these."""
        own = set[int]().union(*(self.search.below(seed.node) for seed in seeds))
        own &= {update.node.index for update in self.flow.trained}
        above = self.flow.ancestors(whole[seed][0] for seed in seeds)
        return {
            variable.path
            for read, variable in self._reads
            if read.index in above
            for node in self._written.get((variable.key, variable.replica), ())
            if node.index < read.index
            if node.index not in own and same_branch(node.path, read.path)
        }

    @functools.cached_property
    def _reads(self) -> list[tuple[Node, VariableRef]]:
        """Where weights are read, and what else a loss may compare with: no counts, nor rates."""
        return [
            (node, variable)
            for node, variable in self.flat.reads()
            if node.index in self.flow.weights
            or (variable.shape != () and tf.as_dtype(variable.dtype).is_floating)
        ]

    @functools.cached_property
    def _written(self) -> dict[tuple[int | str, int], list[Node]]:
        """What writes each component of a variable, in the order of the graph."""
        found: dict[tuple[int | str, int], list[Node]] = {}
        for node, variable in self.flat.writes():
            found.setdefault((variable.key, variable.replica), []).append(node)
        return found

    @property
    def _seeds(self) -> list[Seed]:
        """Where backward passes begin: after what they go back through, as a step is written.

        Targets that are all ones may look like seeds of what is multiplied with them later.
        """
        seeds = self.flow.seeds
        return [seed for seed in seeds if seed.loss[0] < seed.node] or list(seeds)

    def _begun_by(self, inner: list[Seed]) -> Callable[[int], Seed | None]:
        """Of which of these backward passes an op is, going by the scope that a tape opens."""

        def begun(index: int) -> Seed | None:
            node = self.flat.nodes[index]
            if index not in self.flow.backward or TAPE not in "/".join((*node.path, node.name)):
                return None
            there = [seed for seed in inner if index in self.search.below(seed.node)]
            return there[-1] if there else None

        return begun

    @property
    def _named(self) -> dict[Tensor, str]:
        """What a step is handed, by the names that its function has for it."""
        step = self.detector.step
        found = {(i, 0): self.flat.nodes[i].name for i in self.flat.arguments}
        if step.arguments is not None and len(step.arguments.tensors) > 1:
            for place, tensor in enumerate(step.arguments.tensors):
                if tensor is not None:
                    found.setdefault(tensor, f"batch[{place}]")
        for letter, tensors in (("x", step.inputs), ("y", step.targets), ("weight", step.weights)):
            several = sorted(tensors or ())
            for place, tensor in enumerate(several):
                if tensor[0] not in self.flat.arguments:
                    found[tensor] = letter if len(several) == 1 else f"{letter}[{place}]"
        return found


class _Names:
    """Which parts of one objective are losses that have a name."""

    def __init__(self, formulas: _Formulas, seed: Seed) -> None:
        self.flow = formulas.flow
        below = formulas.search.below(seed.node)
        self._makes = formulas.detector.makes
        self.losses = [
            (loss, found)
            for loss, found in formulas.losses
            if found.weight and not below.isdisjoint(found.nodes)
        ]
        self._weights = set(self.flow.weights)

    def of(self, tensor: Tensor) -> tuple[str, Found] | None:
        """The loss that a tensor is a multiple of, if it is one and has a name."""
        above = self.flow.ancestors([tensor[0]])
        there = [
            one
            for one in self.losses
            if (ends := _ends(one[1])) and ends <= above
            if not self.flow.ancestors([tensor[0]], without=ends) & self._weights
        ]
        if len(there) != 1 or not self._makes(*there[0], tensor):
            return None
        return known_name(there[0][0]), there[0][1]


def _is_plain(loss: Expression) -> bool:
    """Whether a loss is of what a step is handed, and of what a model makes of that."""
    ends = [part.parts if part.kind == "call" else (part,) for part in loss.parts]
    return all(one.kind in ("name", "number") for several in ends for one in several)


def _ends(found: Found) -> frozenset[int]:
    """What a loss is computed from: its prediction and its target, if that is known."""
    if found.predicted is None or (found.target is None and found.made_up is None):
        return frozenset()
    return frozenset(one[0] for one in (found.predicted, found.target) if one is not None)
