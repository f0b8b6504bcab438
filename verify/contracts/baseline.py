"""A contract that says what a step is today, as tight as it can be said."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tomlkit

from verify.capture import Step
from verify.contracts.expectation import expectation
from verify.contracts.files import ContractError
from verify.contracts.schema import Expected
from verify.contracts.subject import Subject, captured
from verify.hazards import CALLBACKS
from verify.pause import no_collection
from verify.specialise import choosers, specialised
from verify.step_facts import StepFacts, step_facts

_CALLBACK_GLOBS = sorted(CALLBACKS)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """`said`: expectations as a contract spells them. `unsaid`: what it can't say, and why."""

    said: dict[str, Any]
    unsaid: dict[str, str]


def baseline(step: Step, inner: bool = False) -> Baseline:
    """What is true of a step today. Each expectation has been checked to hold.

    Args:
        inner: for a branch: its size and what it forbids are the whole step's business.
    """
    with no_collection():
        facts = step_facts(step)
        said = _said(facts)
        unsaid: dict[str, str] = {}
        if not inner:
            guards, unsaid = _guards(step)
            said |= _limits(facts) | guards
        for keyword, value in list(said.items()):
            reason = _why_not(step, keyword, value)
            if reason is None:
                continue
            unsaid[keyword] = reason
            del said[keyword]
            # What has no name for a contract can still be counted.
            count = len(facts.regularization)
            if keyword == "regularization" and _why_not(step, keyword, count) is None:
                said[keyword] = count
    return Baseline(said, unsaid)


def contract_text(name: str, subject: Subject, path_from: str | None = None) -> str:
    """A contract on `subject` as TOML, with what it can't say in comments.

    Args:
        path_from: how a file is named from where the contract will be.
    """
    found = baseline(captured(subject))
    table = tomlkit.table()
    if subject.target is not None:
        table["target"] = subject.target
        if subject.step is not None:
            table["step"] = subject.step
    else:
        table["file"] = path_from or str(subject.file)
        if subject.signature is not None:
            table["signature"] = subject.signature
    said = dict(found.said)
    guards = said.pop("guards", None)
    for keyword, value in said.items():
        table[keyword] = _item(value)
    for keyword, reason in found.unsaid.items():
        table.add(tomlkit.comment(_remark(keyword, reason, keyword in said)))
    if guards is not None:  # tables come last
        table["guards"] = _item(guards)
    document = tomlkit.document()
    contracts = tomlkit.table(is_super_table=True)
    contracts[name] = table
    document["contracts"] = contracts
    return tomlkit.dumps(document)


def _remark(keyword: str, reason: str, counted: bool) -> str:
    left = "are only counted" if counted else "is left out"
    return f"{keyword}{' terms' * counted} {left}: {reason}"


def _said(facts: StepFacts) -> dict[str, Any]:
    said: dict[str, Any] = {
        "loss": [_object(loss.name, loss.weight, "weight") for loss in facts.losses] or False,
        "regularization": [
            {"on": _literal(term.variable)} | _table(_object(term.kind, None, ""))
            for term in facts.regularization
        ]
        or 0,
        "clipping": _clipping(facts),
        "watched": [_literal(path) for path in facts.watched],
    }
    if facts.decayed:
        said["decayed"] = [_literal(path) for path in facts.decayed]
    return said


def _limits(facts: StepFacts) -> dict[str, Any]:
    there = {hazard.op for hazard in facts.hazards if hazard.op in CALLBACKS}
    return {
        "forbids": [*_CALLBACK_GLOBS, *(f"!{op}" for op in sorted(there))],
        "max_ops": facts.op_count,
        "max_bytes": facts.constant_bytes,
    }


def _guards(step: Step) -> tuple[dict[str, Any], dict[str, str]]:
    """Per boolean variable that chooses branches: what the step is under each of its values.

    Returns:
        The keyword, and what can't be said of which branch.
    """
    chosen = {v.path: v for guard in step.flat.guards for v in choosers(step.flat, guard)}
    guards: dict[str, dict[str, Any]] = {}
    unsaid: dict[str, str] = {}
    for path, variable in sorted(chosen.items()):
        if variable.dtype != "bool":
            continue
        for value in (True, False):
            branch = specialised(step, variable, value)
            if branch is not None:
                found, text = baseline(branch, inner=True), str(value).lower()
                guards.setdefault(path, {})[text] = found.said
                for keyword, reason in found.unsaid.items():
                    unsaid[f"guards.{path}.{text}.{keyword}"] = reason
    return ({"guards": guards} if guards else {}), unsaid


def _clipping(facts: StepFacts) -> Any:
    clips = {(clip.kind, clip.lower, clip.upper) for clip in facts.clipping}
    if not clips:
        return False
    (kind, lower, upper), *_ = sorted(clips)  # several, or an incomplete one, do not hold
    lower, upper = (float(f"{bound:.6g}") for bound in (lower, upper))  # they are float32
    return [lower, upper] if kind == "value" else {kind: upper}


def _why_not(step: Step, keyword: str, value: Any) -> str | None:
    """Why an expectation can't be said of this step; None if it holds."""
    try:
        spelt = Expected.model_validate({keyword: value})
        violations = expectation("baseline", spelt).violations(step)
    except (ContractError, ValueError, TypeError) as error:
        return str(error).splitlines()[0]
    return str(violations[0]).replace("\n", " ") if violations else None


def _object(named: str, weight: float | None, key: str) -> Any:
    """A class with its settings, as `loss_name` and the like tell it, for a contract."""
    table: dict[str, Any] = {"is": named}
    tree = ast.parse(named, mode="eval").body if "(" in named else None
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        table = {"is": tree.func.id}
        table |= {str(k.arg): ast.literal_eval(k.value) for k in tree.keywords}
    if key and weight is not None and not np.isclose(weight, 1):
        table[key] = float(f"{weight:.6g}")
    return table if len(table) > 1 else table["is"]


def _table(made: Any) -> dict[str, Any]:
    return made if isinstance(made, dict) else {"is": made}


def _literal(path: str) -> str:
    """A glob that matches this path alone."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)


def _item(value: Any) -> Any:
    """For tomlkit: tables within a contract inline, longer lists a line per entry."""
    if isinstance(value, Mapping):
        if value and all(isinstance(one, Mapping) for one in value.values()):
            table = tomlkit.table(is_super_table=True)
            for key, one in value.items():
                table[key] = _nested(one)
            return table
        inline = tomlkit.inline_table()
        inline.update(value)
        return inline
    if isinstance(value, list):
        return _array(value)
    return value


def _nested(value: Mapping[str, Any]) -> Any:
    table = tomlkit.table()
    for key, one in value.items():
        if isinstance(one, Mapping) and one and all(isinstance(v, Mapping) for v in one.values()):
            table[key] = _item(one)
        elif isinstance(one, Mapping) and _is_expectations(one):
            table[key] = _nested(one)
        else:
            table[key] = _item(one)
    return table


def _is_expectations(value: Mapping[str, Any]) -> bool:
    return bool(value.keys() & Expected.model_fields.keys())


def _array(values: Iterable[Any]) -> Any:
    array = tomlkit.array()
    for value in values:
        array.append(_item(value))
    return array.multiline(len(array) > 3)
