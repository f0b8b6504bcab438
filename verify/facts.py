"""What a step does, as facts a person can read."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections import Counter
from typing import Any

import keras
import numpy as np

from verify.capture import Region, Step, capture
from verify.clips import describe
from verify.detect import Detector
from verify.pause import no_collection
from verify.reference import loss_name
from verify.search import Found


@dataclasses.dataclass(frozen=True)
class LossFact:
    """A data loss whose gradient reaches an update. `weight`: its constant factor, else None."""

    name: str
    weight: float | None
    prediction: str
    variables: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TermFact:
    """A regularisation term that reaches the update of the variable it depends on."""

    variable: str
    kind: str
    weight: float | None


@dataclasses.dataclass(frozen=True)
class ClipFact:
    """A clipped gradient of `variable`; `complete`: no path to the update avoids the clip.

    `kind` is ``value``, ``norm`` or ``global_norm``; a norm is `upper`.
    """

    variable: str
    kind: str
    lower: float
    upper: float
    complete: bool


@dataclasses.dataclass(frozen=True)
class GuardFact:
    """A branch of the graph and the variables whose values choose it (none: data do)."""

    variables: tuple[str, ...]
    op: str
    place: str


@dataclasses.dataclass(frozen=True)
class StepFacts:
    """Everything `verify` knows of a step. Variables are named by ``variable.path``.

    `watched`: trainable variables updated from a gradient; `written_by_hand`: trainable ones
    written otherwise; `slots`: other variables that gradients write (optimizer state);
    `statistics`: variables written from data without a gradient (metrics, moving averages);
    `counters`: variables written otherwise; `read_only`: read and never written.
    """

    name: str
    losses: tuple[LossFact, ...]
    regularization: tuple[TermFact, ...]
    clipping: tuple[ClipFact, ...]
    watched: tuple[str, ...]
    written_by_hand: tuple[str, ...]
    slots: tuple[str, ...]
    statistics: tuple[str, ...]
    counters: tuple[str, ...]
    read_only: tuple[str, ...]
    guards: tuple[GuardFact, ...]
    ops: tuple[tuple[str, int], ...]
    constant_bytes: int

    @property
    def op_count(self) -> int:
        return sum(count for _, count in self.ops)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.op_count} ops, {self.constant_bytes} bytes of constants"]
        _section(lines, "loss", [_loss_line(loss) for loss in self.losses])
        _section(
            lines,
            "regularization",
            [f"{t.kind} on {t.variable}{_times(t.weight)}" for t in self.regularization],
        )
        _section(
            lines,
            "clipping",
            [
                f"{describe((c.kind, c.lower, c.upper))} on {c.variable}"
                + ("" if c.complete else " (part of its gradient goes around)")
                for c in self.clipping
            ],
        )
        _section(lines, "watched", list(self.watched))
        for title, names in (
            ("written by hand", self.written_by_hand),
            ("optimizer state", self.slots),
            ("statistics", self.statistics),
            ("counters", self.counters),
            ("read only", self.read_only),
        ):
            if names:
                _section(lines, title, [", ".join(names)])
        if self.guards:
            _section(
                lines,
                "guards",
                [f"{', '.join(g.variables) or 'data'} -> {g.op} {g.place}" for g in self.guards],
            )
        return "\n".join(lines)


def facts(target: Any, *args: Any, model: Any = None, signature: str | None = None) -> StepFacts:
    """The facts of a step; ``print`` them.

    Args:
        target, args, model, signature: as for `verify.assert_graph`.
    """
    with no_collection():
        return step_facts(capture(target, *args, model=model, signature=signature))


def step_facts(step: Step, region: Region = ()) -> StepFacts:
    """The facts of a captured step, or of the branch at the call path `region`."""
    detector = Detector(step, region)
    flow, flat = detector.flow, detector.flat
    losses = known_losses(detector)
    unknown_loss, leftover = detector.rest([*(found for _, found in losses), *detector.terms])
    names = {variable.key: variable.path for variable in step.variables}
    written = {v.key for _, v in flat.writes()}
    watched = {u.variable.path for u in flow.trained}
    by_hand = {u.variable.path for u in flow.updates if u.node.index not in flow.backward}
    slots, statistics, counters = set[str](), set[str](), set[str]()
    for node, variable in flat.writes():
        if flow.is_trainable(variable) or not flow.inside(node):
            continue
        if node.index in flow.backward:
            slots.add(variable.path)
        elif node.index in flow.of_data:
            statistics.add(variable.path)
        else:
            counters.add(variable.path)
    facts_of_losses = [
        LossFact(name, found.weight, found.prediction, found.paths) for name, found in losses
    ]
    if unknown_loss:
        paths = tuple(sorted({update.variable.path for update in unknown_loss}))
        facts_of_losses.append(LossFact("unrecognised data loss", None, "", paths))
    return StepFacts(
        name=step.name,
        losses=tuple(facts_of_losses),
        regularization=tuple(
            TermFact(names[term.variable], term.label, term.weight)
            for term in detector.terms
            if term.variable is not None
        )
        + tuple(TermFact(u.variable.path, "unrecognised", None) for u in leftover),
        clipping=tuple(
            ClipFact(update.variable.path, clip.kind, clip.lower, clip.upper, clip.complete)
            for update in flow.trained
            for clip in detector.clips(update)
        ),
        watched=tuple(sorted(watched)),
        written_by_hand=tuple(sorted(by_hand - watched)),
        slots=tuple(sorted(slots)),
        statistics=tuple(sorted(statistics)),
        counters=tuple(sorted(counters)),
        read_only=tuple(sorted({v.path for _, v in flat.reads() if v.key not in written})),
        guards=tuple(guard_facts(detector)),
        ops=tuple(sorted(Counter(n.op for n in flat.nodes if flow.inside(n)).items())),
        constant_bytes=sum(
            value.nbytes
            for node in flat.nodes
            if flow.inside(node) and (value := flat.constant((node.index, 0))) is not None
        ),
    )


def guard_facts(detector: Detector) -> list[GuardFact]:
    """The guards of the region, each with the variables that its predicate is read from."""
    flat, flow = detector.flat, detector.flow
    found = []
    for guard in flat.guards:
        if guard.path[: len(flow.region)] != flow.region:
            continue
        above = flow.ancestors([guard.predicate[0]])
        variables = {v.path for node, v in flat.reads() if node.index in above}
        place = "::".join((*guard.path, guard.name))
        found.append(GuardFact(tuple(sorted(variables)), guard.op, place))
    return found


def known_losses(detector: Detector) -> list[tuple[str, Found]]:
    """The losses that explain the step's gradients, of the model's own and Keras' catalogue."""
    found: list[tuple[str, Found]] = []
    reference = detector.step.reference
    for loss in [*(() if reference is None else reference.losses), *keras_losses()]:
        if not detector.rest([*(f for _, f in found), *detector.terms])[0]:
            break
        for match in detector.losses(loss)[0]:
            if not any(match.nodes & other.nodes for _, other in found):
                found.append((loss_name(loss), match))
    return found


@functools.cache
def keras_losses() -> tuple[keras.losses.Loss, ...]:
    """Every loss that Keras ships and that needs no arguments, in its default settings."""
    made = []
    for name in sorted(dir(keras.losses)):
        kind = getattr(keras.losses, name)
        if not inspect.isclass(kind) or kind is keras.losses.Loss:
            continue
        parameters = inspect.signature(kind).parameters.values()
        if all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in parameters):
            made.append(kind())
    return tuple(made)


def _section(lines: list[str], title: str, entries: list[str]) -> None:
    for position, entry in enumerate(entries or ["none"]):
        lines.append(f"  {title if position == 0 else '':<16} {entry}")


def _loss_line(loss: LossFact) -> str:
    where = f" of {loss.prediction}" if loss.prediction else ""
    return f"{loss.name}{where}{_times(loss.weight)}"


def _times(weight: float | None) -> str:
    return "" if weight is None or np.isclose(weight, 1) else f" times {weight:.6g}"
