"""Guards: which variable's value chooses which branch, and what the step is under each choice."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, ForwardRef

from verify.errors import ContractError
from verify.find import Detector
from verify.graphs import WHILES, Guard, Region, VariableRef
from verify.kinds.contract_spelling import Off
from verify.kinds.facts import Facts, GuardFact
from verify.kinds.kind import Asked, Keyword, Kind, Read, Row
from verify.kinds.selection import select
from verify.kinds.violation import Violation
from verify.step import Step, choosers, constant_choice, specialised

# Expectations by value by variable. `Expected`, the model of all keys of a contract together, is
# made of the kinds in verify.contracts; hence a name, in a form that a type checker does not read.
_BY_VALUE = types.GenericAlias(dict, (str, ForwardRef("Expected")))
_CHOICES: Any = types.GenericAlias(dict, (str, _BY_VALUE))


def _fact(detector: Detector, guard: Guard) -> GuardFact:
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


# -- what was asserted -----------------------------------------------------------------------------


def _check(detector: Detector, expected: Any, asked: Asked) -> list[Violation]:
    if expected is None:
        return _no_guards(detector)
    violations: list[Violation] = []
    branches: list[tuple[str, Step, Any]] = []
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
                    branches.append((f"{variable.path!r}: {value!r}", step, settings))
    for place, step, settings in branches:
        violations += [
            dataclasses.replace(violation, keyword=f"guards[{place}] {violation.keyword}")
            for violation in asked.violations_in_branch(step, settings)
        ]
    return violations


def _pairs(expected: Any) -> list[tuple[Any, Mapping[Any, Any]]]:
    """(selection, {value: expectations}): from a mapping or, for variables, from such pairs."""
    pairs = list(expected.items()) if isinstance(expected, Mapping) else expected
    if not isinstance(pairs, list) or any(
        not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], Mapping)
        for pair in pairs
    ):
        raise TypeError(
            f"guards: {expected!r} is not a mapping from variables' paths to "
            f"{{value: expectations}}, nor a list of such pairs"
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


# -- contracts -------------------------------------------------------------------------------------


def _read(place: str, said: Any, read_nested: Read) -> Any:
    if said is False:
        return None
    return {
        variable: {
            _value(f"{place}.{variable}", value): read_nested(f"{place}.{variable}.{value}", there)
            for value, there in choices.items()
        }
        for variable, choices in said.items()
    }


def _value(place: str, text: str) -> bool | int:
    """The value of a control variable: TOML's keys are texts."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        raise ContractError(f"{place}.{text}: a value is true, false or a whole number") from None


# -- rows ------------------------------------------------------------------------------------------


def _told(guard: GuardFact) -> str:
    chosen_by = ", ".join(guard.variables) or "data"
    if guard.frozen is not None:
        chosen_by = f"always {guard.frozen} (a frozen Python value)"
    trains = [", ".join(names) or "nothing" for names in guard.trains]
    told = f"; trains {' | '.join(trains)}" if any(guard.trains) else ""
    return f"{chosen_by} -> {guard.op} {guard.place}{told}"


def _kept(guard: GuardFact) -> str:
    chosen_by = ", ".join(guard.variables) or "data"
    if guard.frozen is not None:
        chosen_by = f"always {guard.frozen}"
    trains = " | ".join(", ".join(names) or "nothing" for names in guard.trains)
    return f"{chosen_by} chooses what is trained: {trains}" if any(guard.trains) else chosen_by


class _Guards(Kind):
    keywords = (Keyword("guards", Off | _CHOICES, _check, rank=9, read=_read, by_entry=True),)

    def find(self, detector: Detector) -> dict[str, Any]:
        region = detector.flow.region
        guards = tuple(
            _fact(detector, guard)
            for guard in detector.flat.guards
            if guard.path[: len(region)] == region
        )
        return {"guards": guards}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("guards", map(_told, facts.guards))]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("guard", map(_kept, facts.guards))]


KIND = _Guards()
