"""Records: what steps are under one version of TensorFlow, to be held against another."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pydantic
import tensorflow as tf

from loopctl_shared import version
from verify.contracts.promises import promises_of
from verify.contracts.recorded_values import (
    MOST_ELEMENTS,
    Draw,
    Evaluated,
    Kept,
    argument_rows,
    draws_for,
    evaluated,
    size_of,
)
from verify.contracts.roles import Key, Role, roles_of
from verify.contracts.sketches import drawn_here
from verify.contracts.subject import captured, subject_from
from verify.errors import ContractError
from verify.flow import Canonical, Flow, flow_of
from verify.graphs import draws, no_collection
from verify.match import NoValueError
from verify.step import Step
from verify.step_facts import lines_of, step_facts

_MAX_BYTES = 256 << 20


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class RecordedStep(_Strict):
    """What one step was.

    `arguments`: shape, dtype, and whether the numbers are probabilities; `variables`: by the names
    that `values`, `ops_of` and `unknown` go by; `numbers`: what scalars that are only read held;
    `values`: sketches, for each of `draws`; `ops_of`: digits of the ops that compute what is
    written; `acts`: ops with other effects; `random`: those that draw; `unknown`: which values
    can't be computed, in some draw, and why; `untaken`: branches that no draw takes;
    `promises`: what is true of it by keyword, as contracts spell it, tightest first; `unsaid`: what
    can't be said of it, and why.
    """

    target: str
    facts: tuple[str, ...]
    arguments: tuple[tuple[tuple[int | None, ...] | None, str, bool], ...]
    variables: tuple[Role, ...]
    numbers: Mapping[str, float]
    draws: tuple[Draw, ...]
    values: Mapping[str, tuple[Kept, ...]]
    unknown: Mapping[str, str]
    untaken: tuple[str, ...]
    ops_of: Mapping[str, str]
    acts: Mapping[str, int]
    random: Mapping[str, int]
    ops: Mapping[str, int]
    promises: Mapping[str, tuple[Any, ...]] = {}
    unsaid: Mapping[str, str] = {}


class Record(_Strict):
    """Steps under one version. `drawn`: digits of the random numbers that NumPy draws there."""

    loopctl_record: Literal[1] = 1
    versions: Mapping[str, str]
    drawn: str
    steps: tuple[RecordedStep, ...]


def record(targets: Sequence[str]) -> Record:
    """What the steps are that these name.

    Raises:
        ContractError: one of them can't be made or verified.
    """
    steps = []
    for name in dict.fromkeys(targets):
        step = captured(subject_from(name))
        promises, unsaid = promises_of(step)
        told = {"promises": promises, "unsaid": unsaid}
        steps.append(recorded(name, step).model_copy(update=told))
    return Record(loopctl_record=1, versions=versions(), drawn=drawn_here(), steps=tuple(steps))


def versions() -> dict[str, str]:
    """What decides how a step is written, by name."""
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "loopctl": version(),
    }


def recorded(
    target: str,
    step: Step,
    known: Mapping[Key, Role] | None = None,
    every: Sequence[Draw] | None = None,
    rows: Iterable[bool] | None = None,
) -> RecordedStep:
    """What a step is.

    Args:
        known: what its variables are in a record that it is held against, `every` the draws of
            that, `rows` which of its arguments are probabilities.
    """
    with no_collection():
        flow = flow_of(step.flat, (), step.trainable)
        roles = dict(roles_of(step, flow)) | dict(known or {})
        handed = _arguments(step)
        of_rows = argument_rows(step)
        if rows is not None:
            of_rows = frozenset(t for t, is_one in zip(handed, rows, strict=False) if is_one)
        several = [*(draws_for(step.flat) if every is None else every)]
        found = _evaluated(step, roles, several, of_rows)
        ops_of, acts = _ops_of(flow, roles)
        return RecordedStep(
            target=target,
            facts=tuple(lines_of(step_facts(step)).splitlines()),
            arguments=tuple((*step.flat.spec(t), t in of_rows) for t in handed),
            variables=tuple(roles.values()),
            numbers={
                role.name: step.numbers[key]
                for key, role in roles.items()
                if key in step.numbers and not role.written
            },
            draws=tuple(several),
            values={name: tuple(values) for name, values in found.values.items()},
            unknown=found.unknown,
            untaken=tuple(found.untaken),
            ops_of=ops_of,
            acts=acts,
            random=Counter(
                f"{node.op} {node.dtypes[0]} {node.shapes[0]}"
                for node in step.flat.nodes
                if draws(node.op) and node.shapes
            ),
            ops=Counter(node.op for node in step.flat.nodes),
        )


def _evaluated(
    step: Step, roles: Mapping[Key, Role], every: Sequence[Draw], rows: Any
) -> Evaluated:
    size = size_of(step.flat)
    try:
        if size > MOST_ELEMENTS:
            raise NoValueError(
                f"its tensors have {size:,} elements, of which {MOST_ELEMENTS:,} are evaluated: "
                "name it with a smaller batch"
            )
        return evaluated(step, roles, every, rows)
    except NoValueError as why:
        return Evaluated(unknown={role.name: str(why) for role in roles.values() if role.written})


def _arguments(step: Step) -> list[tuple[int, int]]:
    flat = step.flat
    tensors = () if step.arguments is None else step.arguments.tensors
    known = [tensor for tensor in tensors if tensor is not None]
    fed = [(i, 0) for i in flat.arguments if i >= 0 and flat.nodes[i].dtypes[:1] != ["resource"]]
    return known or fed


def _ops_of(flow: Flow, roles: Mapping[Key, Role]) -> tuple[dict[str, str], dict[str, int]]:
    """Digits of the ops that write each variable, and the ops that have other effects."""
    names = {v.key: v.path.encode() for v in flow.flat.variables.values()}
    names |= {key: role.name.encode() for key, role in roles.items()}
    writes: dict[str, list[str]] = {}
    acts = Counter[str]()
    for effect in Canonical(flow, names).effects:
        if effect.variable is not None:
            writes.setdefault(roles[effect.variable.key].name, []).append(effect.digest.hex())
        elif not draws(effect.node.op):
            acts[effect.node.op] += 1
    return {name: " ".join(sorted(digits)) for name, digits in writes.items()}, acts


def record_text(made: Record) -> str:
    """A record as JSON, a line for each step."""
    content = made.model_dump(mode="json")
    steps = ",\n".join(json.dumps(step) for step in content.pop("steps"))
    return f'{json.dumps(content)[:-1]}, "steps": [\n{steps}\n]}}\n'


def read_record(path: Path) -> Record:
    """The record in a file.

    Raises:
        ContractError: it is none, or none that this version reads.
    """
    if not path.exists():
        raise ContractError(f"{path} does not exist")
    if path.stat().st_size > _MAX_BYTES:
        raise ContractError(f"{path}: too large for a record")
    try:
        return Record.model_validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ContractError(
            f"{path}: not a record that loopctl-verify {version()} can read ({place}: "
            f"{first['msg']}); `loopctl-verify record TARGET -o {path.name}` writes one"
        ) from None
