"""Whether two steps do the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verify.assertions.failure import fail
from verify.assertions.same_values import same_values
from verify.flow import Canonical, Effect, canonical, flow_of, unmatched
from verify.graphs import READS, WHILES, Node, Tensor, draws, is_commutative, no_collection
from verify.kinds import Violation
from verify.match import shown_apart
from verify.step import Step, capture


def assert_same_step(
    a: Any,
    b: Any,
    *args: Any,
    model: Any = None,
    signature: str | None = None,
    outputs: bool = False,
    exact: bool = False,
) -> None:
    """Asserts that two steps do the same, however they are written.

    They do the same if their graphs are equal up to names and the order of independent ops, or if
    they leave the same values in variables, given the same values of variables, arguments and
    random numbers.

    What a step does consists of what it writes to variables and which stateful ops it runs, from
    which inputs and under which conditions. Variables that both steps use are compared one by one;
    others, such as those of two models, are matched by how they are used. Seeds of random ops are
    not compared.

    Args:
        a, b: targets, as for `assert_graph`.
        args: a batch to trace both with, as for `assert_graph`; leave it out for targets that have
            been traced already.
        model: as for `assert_graph`, if both steps train the same one.
        signature: the function of a SavedModel (of both, if both are one) to use, if there are
            several.
        outputs: whether the return values have to be the same as well.
        exact: whether the graphs themselves have to be equal.

    Raises:
        GraphAssertionError: with each effect that only one of the steps has, and the first
            difference from the nearest effect of the other.
    """
    __tracebackhide__ = True
    with no_collection():
        saved = [isinstance(target, str | Path) for target in (a, b)]
        first, second = (
            target
            if isinstance(target, Step)
            else capture(target, *args, model=model, signature=signature if by_path else None)
            # Where neither is saved, both are asked for it, and say what is wrong.
            for target, by_path in zip((a, b), saved if any(saved) else [True, True], strict=True)
        )
        violations = differences(first, second, outputs, exact)
    fail(f"{first.name} and {second.name}", violations)


def differences(a: Step, b: Step, outputs: bool = False, exact: bool = True) -> list[Violation]:
    """What one of two steps does and the other does not; none if only the ways are different.

    Args:
        exact: tell different ways as well.
    """
    first, second = canonical(*(flow_of(s.flat, (), s.trainable) for s in (a, b)))
    comparison = _Comparison(first, second)
    names = ("the first", "the second") if a.name == b.name else (a.name, b.name)
    found = comparison.effects(*names)
    if outputs:
        found += comparison.outputs()
    if found and not exact and comparison.writes_alone and same_values(a, b, outputs):
        return []
    return found


class _Comparison:
    def __init__(self, a: Canonical, b: Canonical) -> None:
        self.a, self.b = a, b

    @property
    def writes_alone(self) -> bool:
        """Whether they differ in what they leave in variables alone, not in any other effect."""
        pairs = ((self.a, self.b), (self.b, self.a))
        only = [e for one, other in pairs for e in unmatched(one.effects, other.effects)]
        return all(
            effect.variable is not None or effect.node.op in WHILES or draws(effect.node.op)
            for effect in only
        )

    def effects(self, a: str, b: str) -> list[Violation]:
        only_a = unmatched(self.a.effects, self.b.effects)
        only_b = unmatched(self.b.effects, self.a.effects)
        found = []
        for effect in only_a:
            other = _nearest(effect, only_b)
            if other is None:
                found.append(Violation("same step", f"{_told(effect)}, as in {a}", f"not in {b}"))
                continue
            only_b.remove(other)
            difference = self._difference((effect.node.index, 0), (other.node.index, 0))
            told = _told(other) if _told(other) != _told(effect) else "one that differs"
            found.append(Violation("same step", _told(effect), told, (difference,)))
        for effect in only_b:
            found.append(Violation("same step", f"no {_told(effect)}, as in {a}", f"it is in {b}"))
        return found

    def outputs(self) -> list[Violation]:
        pairs = zip(self.a.flat.outputs, self.b.flat.outputs, strict=False)
        found = [
            Violation("same step", f"output {i} alike", self._difference(one, other))
            for i, (one, other) in enumerate(pairs)
            if self.a.output(one) != self.b.output(other)
        ]
        counts = len(self.a.flat.outputs), len(self.b.flat.outputs)
        if counts[0] != counts[1]:
            found.append(Violation("same step", f"{counts[0]} outputs", f"{counts[1]}"))
        return found

    def _difference(self, a: Tensor, b: Tensor) -> str:
        """Where two tensors that are not alike first differ, seen from them.

        A loop is a cycle in a graph, so that no op is gone back from twice.
        """
        first = self.a.flat.through(a), self.b.flat.through(b)
        loop: tuple[Tensor, Tensor] | None = None
        seen: set[Tensor] = set()
        stack = [first]
        while stack:
            a, b = stack.pop()
            if a in seen:
                continue
            seen.add(a)
            told = self._differ_here(a, b)
            if told is not None:
                return f"first difference: {told}"
            if loop is None and self.a.flat.node(a).op in WHILES:
                loop = a, b
            pairs = self._differing_inputs(self.a.flat.node(a), self.b.flat.node(b))
            stack += [
                (self.a.flat.through(one), self.b.flat.through(other))
                for one, other in reversed(pairs)
            ]
        # All that a turn does is alike: then it is which of its values are used, and for what.
        a, b = loop or first
        one, other = self.a.flat.node(a), self.b.flat.node(b)
        return f"first difference: {one.op} hands on another value at {one.id} and {other.id}"

    def _differ_here(self, a: Tensor, b: Tensor) -> str | None:
        """In what the ops of two tensors differ themselves, whatever their inputs do."""
        one, other = self.a.flat.node(a), self.b.flat.node(b)
        places = f"at {one.id} and {other.id}"
        values = self.a.folder.value(a), self.b.folder.value(b)
        if values[0] is not None and values[1] is not None:
            told = shown_apart(values[0], values[1])
            return f"{told[0]} and {told[1]} {places}"
        if one.op != other.op:
            return f"{one.op} and {other.op} {places}"
        variables = self.a.flat.variable(one), self.b.flat.variable(other)
        if one.op in READS and variables[0] is not None and variables[1] is not None:
            mine, theirs = (
                side.variables[v.key]
                for side, v in zip((self.a, self.b), variables, strict=True)
                if v is not None
            )
            same = mine == theirs
            what = "before or after another write" if same else "of different variables"
            return f"{one.op} {what} {places}"
        if not self._differing_inputs(one, other):
            return f"{one.op} under other conditions or settings {places}"
        return None

    def _differing_inputs(self, a: Node, b: Node) -> list[tuple[Tensor, Tensor]]:
        ours, theirs = list(a.data), list(b.data)
        if is_commutative(a.op):
            mine = [self.a.output(tensor) for tensor in ours]
            others = [self.b.output(tensor) for tensor in theirs]
            ours = [t for t, digest in zip(ours, mine, strict=True) if digest not in others]
            theirs = [t for t, digest in zip(theirs, others, strict=True) if digest not in mine]
        return [
            (one, other)
            for one, other in zip(ours, theirs, strict=False)
            if self.a.output(one) != self.b.output(other)
            and not (one[0] in self.a.flat.variables and other[0] in self.b.flat.variables)
        ]


def _nearest(effect: Effect, others: Sequence[Effect]) -> Effect | None:
    """The effect that was probably meant to be the same: on that variable, or on one like it."""

    def likeness(other: Effect) -> tuple[bool, bool, bool]:
        ours, theirs = effect.variable, other.variable
        if ours is None or theirs is None:
            return ours is theirs, effect.node.op == other.node.op, False
        same = ours.key == theirs.key or ours.path == theirs.path
        return (
            same,
            (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype),
            (effect.node.op == other.node.op),
        )

    best = max(others, key=likeness, default=None)
    return best if best is not None and any(likeness(best)[:2]) else None


def _told(effect: Effect) -> str:
    if effect.variable is None:
        return f"{effect.node.op} at {effect.node.id}"
    return f"{effect.node.op} of {effect.variable.path}"


@dataclasses.dataclass(frozen=True)
class ChangedOps:
    """What sets two steps apart, op by op.

    `old`, `new`: marks by index of an op, "begun" where something begins that the other step lacks,
    "touched" where only what an op is computed from is such. `same`: by index of an op of the old
    step, the first of the new step that computes the same. `first`: the same by index of an op of
    the new step itself. `variables`: by key of a variable of the old step, that of the new step
    which is treated alike.
    """

    old: dict[int, str]
    new: dict[int, str]
    same: dict[int, int]
    first: dict[int, int]
    variables: dict[int | str, int | str]


def changed_ops(a: Step, b: Step) -> ChangedOps:
    """What of `a` is not in `b`, what of `b` is not in `a`, and what is in both."""
    old, new = canonical(*(flow_of(s.flat, (), s.trainable) for s in (a, b)))
    at = {digest: index for index, digest in reversed(list(enumerate(new.digests)))}
    same = {index: at[digest] for index, digest in enumerate(old.digests) if digest in at}
    keys = {digest: key for key, digest in new.variables.items()}
    variables = {key: keys[digest] for key, digest in old.variables.items() if digest in keys}
    first = {index: at[digest] for index, digest in enumerate(new.digests)}
    return ChangedOps(_begun(old, new), _begun(new, old), same, first, variables)


def _begun(one: Canonical, other: Canonical) -> dict[int, str]:
    """Ops of `one` that compute what nothing in `other` does."""
    there = set(other.digests)
    marks: dict[int, str] = {}
    for node, digest in zip(one.flat.nodes, one.digests, strict=True):
        if digest not in there:
            # What is read comes from the writes before it, which are no inputs.
            known = all(one.digests[source] in there for source, _ in node.data)
            marks[node.index] = "begun" if known and node.op not in READS else "touched"
    return marks
