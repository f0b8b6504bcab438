"""What a step does, as facts a person can read."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from verify.capture import Region, Step, capture
from verify.detect import Detector
from verify.flat import IDENTITIES, WHILES, Guard, VariableRef
from verify.hazards import HazardFact, hazards
from verify.loss_reference import loss_name
from verify.page import page
from verify.pause import no_collection
from verify.search import Disjoint, Found
from verify.specialise import choosers, constant_choice
from verify.state import Written, stopped, written

# How TensorFlow marks the result of a function with a gradient of its own.
_CUSTOM = "_gradient_op_type"


@dataclasses.dataclass(frozen=True)
class LossFact:
    """A data loss whose gradient reaches an update.

    `weight`: its constant factor, else None. `scaled_by`: the variables whose values multiply its
    gradient (a loss scale).
    """

    name: str
    weight: float | None
    prediction: str
    variables: tuple[str, ...]
    scaled_by: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TermFact:
    """A regularisation term that reaches the update of the variable it depends on."""

    variable: str
    kind: str
    weight: float | None


@dataclasses.dataclass(frozen=True)
class ClipFact:
    """A clipped gradient of `variable`; `complete`: all of that gradient is clipped so.

    `kind` is ``value``, ``norm`` or ``global_norm``; a norm is `upper`. `misses` tells why a clip
    is not complete.
    """

    variable: str
    kind: str
    lower: float
    upper: float
    complete: bool
    misses: str = ""


@dataclasses.dataclass(frozen=True)
class GuardFact:
    """A branch or loop of the graph, and what it is chosen by.

    `variables`: those whose values choose it (none: data do). `frozen`: the value that always
    chooses it, if a constant does: a Python value that was frozen while tracing; else None.
    `trains`: per branch, the variables that are updated from their gradients in it.
    """

    variables: tuple[str, ...]
    op: str
    place: str
    frozen: bool | int | None
    trains: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class StepFacts:
    """Everything `verify` knows of a step. Variables are named by ``variable.path``.

    `written`: what the step does to variables, by kind; `decayed`: trainable ones that shrink by a
    share of themselves (weight decay); `read_only`: read and never written; `stopped`: trainable
    ones that the loss is computed from, but behind ``stop_gradient``. `custom_gradients`: the ops
    whose gradient is a function of Python's. `hazards`: candidates for `forbids`.
    """

    name: str
    losses: tuple[LossFact, ...]
    regularization: tuple[TermFact, ...]
    clipping: tuple[ClipFact, ...]
    written: Written
    decayed: tuple[str, ...]
    read_only: tuple[str, ...]
    stopped: tuple[str, ...]
    custom_gradients: tuple[str, ...]
    guards: tuple[GuardFact, ...]
    hazards: tuple[HazardFact, ...]
    ops: tuple[tuple[str, int], ...]
    constant_bytes: int
    variable_bytes: int

    @property
    def watched(self) -> tuple[str, ...]:
        """Trainable variables updated from their gradients."""
        return self.written.watched

    @property
    def op_count(self) -> int:
        return sum(count for _, count in self.ops)

    def __str__(self) -> str:
        return page(self)


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
    own = {v.key for _, v in flat.writes()}
    inside = [node for node in flat.nodes if flow.inside(node)]
    constants = (flat.constant((node.index, 0)) for node in inside)
    return StepFacts(
        name=step.name,
        losses=tuple(_losses(detector)),
        regularization=tuple(_terms(detector)),
        clipping=tuple(_clips(detector)),
        written=written(flow),
        decayed=tuple(sorted({update.variable.path for update in flow.decayed})),
        read_only=tuple(sorted({v.path for _, v in flat.reads() if v.key not in own})),
        stopped=stopped(flow),
        custom_gradients=tuple(
            node.id
            for node in inside
            if node.op in IDENTITIES
            and _CUSTOM in node.attrs
            and node.index in flow.of_weights - flow.backward
        ),
        guards=tuple(
            _guard(detector, guard)
            for guard in flat.guards
            if guard.path[: len(flow.region)] == flow.region
        ),
        hazards=hazards(flow),
        ops=tuple(sorted(Counter(node.op for node in inside).items())),
        constant_bytes=sum(value.nbytes for value in constants if value is not None),
        variable_bytes=sum(_bytes(v) for v in flat.variables.values()),
    )


def _losses(detector: Detector) -> Iterator[LossFact]:
    losses = known_losses(detector)
    for name, found in losses:
        scales = set[str]()
        if found.weight is None:
            scales = {v.path for v in detector.search.scaling.multiplied(found.upstream)}
        yield LossFact(name, found.weight, found.prediction, found.paths, tuple(sorted(scales)))
    unknown = detector.rest([*(found for _, found in losses), *detector.terms])[0]
    if unknown:
        paths = tuple(sorted({update.variable.path for update in unknown}))
        yield LossFact("unrecognized data loss", None, "", paths)


def _terms(detector: Detector) -> Iterator[TermFact]:
    names = detector.step.paths
    for term in detector.terms:
        if term.variable is not None:
            yield TermFact(names[term.variable], term.label, term.weight)
    found = [*(found for _, found in known_losses(detector)), *detector.terms]
    for update in detector.rest(found)[1]:
        yield TermFact(update.variable.path, "unrecognized", None)


def _clips(detector: Detector) -> Iterator[ClipFact]:
    found: dict[ClipFact, None] = {}
    for update in detector.flow.trained:
        for clip in detector.clips(update):
            path, complete = update.variable.path, clip.complete
            fact = ClipFact(path, clip.kind, clip.lower, clip.upper, complete, clip.misses)
            found[fact] = None
    return iter(found)


def _guard(detector: Detector, guard: Guard) -> GuardFact:
    flat, flow = detector.flat, detector.flow
    frozen = None
    if guard.op not in WHILES:
        frozen = constant_choice(flat, guard, flow.folder)
    return GuardFact(
        variables=tuple(v.path for v in choosers(flat, guard)),
        op=guard.op,
        place="::".join((*guard.path, guard.name)),
        frozen=frozen,
        trains=tuple(
            tuple(sorted({u.variable.path for u in flow.trained if _under(u.node.path, branch)}))
            for branch in guard.branches
        ),
    )


def _under(path: Region, branch: Region) -> bool:
    return path[: len(branch)] == branch


def _bytes(variable: VariableRef) -> int:
    sizes = [size or 0 for size in variable.shape]
    return math.prod(sizes) * int(tf.as_dtype(variable.dtype or "float32").size)


def known_losses(detector: Detector) -> list[tuple[str, Found]]:
    """The losses that explain the step's gradients, of the model's own and Keras' catalogue."""
    found: list[tuple[str, Found]] = []
    recognised = Disjoint()
    reference = detector.step.reference
    for loss in [*(() if reference is None else reference.losses), *keras_losses()]:
        if not detector.rest([*recognised.all, *detector.terms])[0]:
            break
        for match in detector.losses(loss)[0]:
            if recognised.fresh([match]):
                recognised.add([match])
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
