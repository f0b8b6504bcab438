"""A contract that says what a step is today, as tight as it can be said."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import tomlkit

from verify.contracts.expectation import expectation
from verify.contracts.schema import Expected
from verify.contracts.subject import Subject, captured
from verify.errors import ContractError
from verify.find import Detector
from verify.graphs import no_collection
from verify.kinds import KINDS
from verify.step import Step, choosers, specialised
from verify.step_facts import step_facts


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
        # Another than the one that found the facts, as whoever checks the contract has; one for
        # all that is said, since it remembers what it found.
        detector = Detector(step)
        said: dict[str, Any] = {}
        for kind in KINDS:
            said |= kind.baseline(facts)
        unsaid: dict[str, str] = {}
        if not inner:
            guards, unsaid = _guards(step)
            for kind in KINDS:
                said |= kind.limits(facts)
            said |= guards
        for keyword, value in list(said.items()):
            reason = why_not(detector, keyword, value)
            if reason is None:
                continue
            unsaid[keyword] = reason
            del said[keyword]
            # What has no name for a contract can still be counted.
            count = len(facts.regularization)
            if keyword == "regularization" and why_not(detector, keyword, count) is None:
                said[keyword] = count
    return Baseline(said, unsaid)


def contract_text(name: str, subject: Subject, path_from: str | None = None) -> str:
    """A contract on `subject` as TOML, with what it can't say in comments.

    Args:
        path_from: how a file is named from where the contract will be.
    """
    found = baseline(captured(subject))
    remarks = [_remark(k, why, k in found.said) for k, why in found.unsaid.items()]
    return text_of(name, subject, found.said, remarks, path_from)


def text_of(
    name: str,
    subject: Subject,
    promises: Mapping[str, Any],
    remarks: Iterable[str],
    path_from: str | None = None,
) -> str:
    """A contract as TOML.

    Args:
        promises: by keyword, as contracts spell them.
        remarks: comments.
        path_from: as for `contract_text`.
    """
    table = tomlkit.table()
    if subject.target is not None:
        table["target"] = subject.target
        if subject.step is not None:
            table["step"] = subject.step
    else:
        table["file"] = path_from or str(subject.file)
        if subject.signature is not None:
            table["signature"] = subject.signature
    said = dict(promises)
    tables = {key: said.pop(key) for key in ("follows", "guards") if key in said}
    for keyword, value in said.items():
        table[keyword] = _item(value)
    for remark in remarks:
        table.add(tomlkit.comment(remark))
    for keyword, value in tables.items():  # they come last
        table[keyword] = _item(value)
    document = tomlkit.document()
    contracts = tomlkit.table(is_super_table=True)
    contracts[name] = table
    document["contracts"] = contracts
    return tomlkit.dumps(document)


def _remark(keyword: str, reason: str, counted: bool) -> str:
    left = "are only counted" if counted else "is left out"
    return f"{keyword}{' terms' * counted} {left}: {reason}"


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


def why_not(detector: Detector, keyword: str, value: Any) -> str | None:
    """Why an expectation can't be said of a step; None if it holds."""
    try:
        spelt = Expected.model_validate({keyword: value})
        violations = expectation("baseline", spelt).violations_of(detector)
    except (ContractError, ValueError, TypeError) as error:
        return str(error).splitlines()[0]
    return str(violations[0]).replace("\n", " ") if violations else None


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
    for key, one in sorted(value.items(), key=lambda item: item[0] in ("follows", "guards")):
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
