"""Which variable's value chooses which branch, and what the step is under each choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from verify.capture import Step
from verify.detect import Detector
from verify.failure import Violation
from verify.flat import WHILES, VariableRef
from verify.selection import select
from verify.specialise import choosers, constant_choice, specialised


@dataclasses.dataclass(frozen=True)
class Branch:
    """The step under one value of one variable, and what is expected of it there."""

    place: str
    step: Step
    settings: Any


@dataclasses.dataclass(frozen=True)
class Branches:
    """What a `guards` expectation comes to: what fails at once and what is to be checked on."""

    violations: tuple[Violation, ...]
    branches: tuple[Branch, ...]


def branches(detector: Detector, expected: Any) -> Branches:
    if expected is None:
        return Branches(tuple(_no_guards(detector)), ())
    violations: list[Violation] = []
    found: list[Branch] = []
    for selection, choices in _pairs(expected):
        for variable in _variables(detector, selection):
            if not _chooses(detector, variable):
                violations.append(_unread(detector, variable))
                continue
            for value, settings in choices.items():
                step = specialised(detector.step, variable, value)
                if step is None:
                    violations.append(_undecided(variable, value))
                else:
                    place = f"{variable.path!r}: {value!r}"
                    found.append(Branch(place, step, settings))
    return Branches(tuple(violations), tuple(found))


def _pairs(expected: Any) -> list[tuple[Any, Mapping[Any, Any]]]:
    """(selection, {value: expectations}): from a mapping or, for variables, from such pairs."""
    pairs = list(expected.items()) if isinstance(expected, Mapping) else expected
    if not isinstance(pairs, list) or any(
        not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], Mapping)
        for pair in pairs
    ):
        raise TypeError(
            f"guards: {expected!r} is no mapping from variables' paths to {{value: expectations}}, "
            "nor a list of such pairs"
        )
    return pairs


def _variables(detector: Detector, selection: Any) -> list[VariableRef]:
    if not isinstance(selection, str) or any(sign in selection for sign in "*?["):
        return select(detector, selection, "guards", trainable=False)
    known = [v for v in detector.step.variables if v.path == selection]
    # A variable that a Python `if` read while tracing has left nothing in the graph.
    return known or [VariableRef(selection, selection, (), "bool", trainable=False)]


def _chooses(detector: Detector, variable: VariableRef) -> bool:
    flat = detector.flat
    return any(variable.key in {v.key for v in choosers(flat, g)} for g in flat.guards)


def _unread(detector: Detector, variable: VariableRef) -> Violation:
    flat = detector.flat
    known = {v.key for v in detector.step.variables}
    hints = []
    if variable.key not in known:
        found = "the step does not use it"
        hints.append(
            "its value was frozen while tracing (a Python `if`, or `numpy()`), or it is not the "
            "variable meant; choose by tf.cond, or a Python `if` on the variable itself under "
            "autograph"
        )
    else:
        found = "the step uses it, but not to choose a branch"
    for guard in flat.guards:
        place = "::".join((*guard.path, guard.name))
        frozen = constant_choice(flat, guard, detector.flow.folder)
        if frozen is not None:
            hints.append(f"{guard.op} at {place} is always {frozen!r}: a frozen Python value")
        else:
            names = ", ".join(v.path for v in choosers(flat, guard)) or "data"
            hints.append(f"{guard.op} at {place} is chosen by {names}")
    return Violation("guards", f"{variable.path} to choose a branch", found, tuple(hints))


def _undecided(variable: VariableRef, value: Any) -> Violation:
    return Violation(
        "guards",
        f"{variable.path} = {value!r} to choose a branch",
        "the choice depends on something else as well",
    )


def _no_guards(detector: Detector) -> list[Violation]:
    flat = detector.flat
    hints = tuple(
        f"{guard.op} at {'::'.join((*guard.path, guard.name))} is chosen by "
        + ", ".join(v.path for v in found)
        for guard in flat.guards
        if guard.op not in WHILES and (found := choosers(flat, guard))
    )
    if not hints:
        return []
    text = f"{len(hints)} branch{'es' if len(hints) > 1 else ''}"
    return [Violation("guards", "no branch that a variable chooses", text, hints)]
