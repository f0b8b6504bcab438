"""What a record and a step of now differ in: in what they mean, or in how they look alone."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from verify.contracts.records import Record, RecordedStep, recorded
from verify.contracts.roles import paired, roles_of
from verify.contracts.sketches import DOUBTFUL, ROUNDING, Sketch, factor
from verify.flow import Flow
from verify.step import Step

Outcome = Literal["same", "alike", "other", "unsure"]

_ENOUGH = 3  # draws in which something is finite
_SHOWN = 3  # names of variables that differ in one way
_LOOKS = ("fingerprint: ", "objective: ", "passes: ", "hazard: ")
"""Facts that tell how a formula is written; all others tell what a step is."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """How a step has changed.

    `outcome`: ``same`` in values and text; ``alike`` in values alone; ``other``, it means another
    thing; ``unsure``, that can't be told. `told`: why; `looks`: what is written otherwise.
    """

    target: str
    outcome: Outcome
    told: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return "\n".join([*self.told, *(f"looks different: {line}" for line in self.looks)])


def now_of(then: RecordedStep, step: Step) -> RecordedStep:
    """What a step is now, fed as it was for the record."""
    own = roles_of(step, Flow(step.flat, (), step.trainable))
    pairs = paired(then.variables, own)
    known = {}
    for key, role in own.items():
        if key in pairs:
            # Fed as what it was; named, and written or not, as it is.
            known[key] = dataclasses.replace(
                pairs[key], path=role.path, decides=role.decides, random=role.random
            )
            if role.written != pairs[key].written:
                known[key] = dataclasses.replace(known[key], written=role.written)
        else:
            known[key] = dataclasses.replace(role, name=f"now {role.name}")
    rows = [is_one for _, _, is_one in then.arguments]
    return recorded(then.target, step, known, then.draws, rows)


def difference(then: RecordedStep, now: RecordedStep, drawn_alike: bool = True) -> Difference:
    """How a step has changed.

    Args:
        now: as it is fed what the record was.
        drawn_alike: whether both were fed the same numbers.
    """
    facts = _facts(then, now)
    meant = [line for line in facts if not line[2:].startswith(_LOOKS)]
    looks = [*_renamed(then, now), *_ops(then, now)]
    looks += [line for line in facts if line not in meant]
    if not drawn_alike:
        why = "NumPy draws other numbers here than where the record was made: record it again"
        return Difference(then.target, "unsure", (why, *meant), (*looks,))
    if [spec[:2] for spec in then.arguments] != [spec[:2] for spec in now.arguments]:
        told = f"it is handed {_specs(now)}, and was {_specs(then)}: values can't be compared"
        return Difference(then.target, "unsure", (told, *meant), (*looks,))
    other, unsure = _of_values(then, now)
    numbers = [*_of_numbers(then, now)]
    if other:
        return Difference(then.target, "other", (*other, *numbers, *meant), (*looks,))
    alike = then.ops_of == now.ops_of
    if not alike:
        unsure += [
            f"no draw takes all branches of {place}, so that they were not compared"
            for place in dict.fromkeys((*then.untaken, *now.untaken))
        ]
    if meant:
        unsure.append("values agree where they were compared, but facts differ")
    if unsure:
        unsure += ["else, all is written by the same ops"] * (alike and not meant)
        return Difference(then.target, "unsure", (*unsure, *numbers, *meant), (*looks,))
    looks += numbers
    return Difference(then.target, "alike" if looks else "same", (), (*looks,))


def differences(then: Record, now: Record) -> list[Difference]:
    """How the steps of one record have changed in another one, by their targets."""
    found = {step.target: step for step in now.steps}
    return [
        difference(step, found[step.target], then.drawn == now.drawn)
        for step in then.steps
        if step.target in found
    ]


def _of_values(then: RecordedStep, now: RecordedStep) -> tuple[list[str], list[str]]:
    """(what is another thing, what can't be told)."""
    paths = {role.name: role.path for role in (*now.variables, *then.variables)}
    random = [{role.name for role in one.variables if role.random} for one in (then, now)]
    redrawn = then.random != now.random
    by_kind: dict[str, list[str]] = {}
    unsure: list[str] = []
    doubtful: dict[str, list[str]] = {}
    for name in dict.fromkeys([*then.ops_of, *now.ops_of, *then.values, *now.values]):
        path = paths.get(name, name)
        known = name in {*then.ops_of, *then.values, *then.unknown}
        if not known or name not in {*now.ops_of, *now.values, *now.unknown}:
            did = ("returned", "returns") if path.startswith("output ") else ("written", "written")
            told = f"is {did[0]} no more" if known else f"is {did[1]} now, and was not"
            by_kind.setdefault(told, []).append(path)
            continue
        why = then.unknown.get(name) or now.unknown.get(name)
        if why is not None:
            doubtful.setdefault(f"can't be computed: {why}", []).append(path)
            continue
        a, b = then.values[name], now.values[name]
        told, apart = _apart(a, b)
        if not told:
            good = sum(one is not None for one in a)
            if good < _ENOUGH:
                doubtful.setdefault("is finite in too few draws", []).append(path)
        elif redrawn and name in random[0] and name in random[1]:
            more = _counts(then.random, now.random)
            doubtful.setdefault(f"{told}; but other random numbers are drawn: {more}", []).append(
                path
            )
        elif apart <= DOUBTFUL:
            doubtful.setdefault(
                f"{told}: rounding, or another small number, such as an epsilon", []
            ).append(path)
        else:
            by_kind.setdefault(told, []).append(path)
    if then.acts != now.acts:
        by_kind[f"has other effects: {_counts(then.acts, now.acts)}"] = ["the step"]
    unsure += [f"{_names(names)} {told}" for told, names in doubtful.items()]
    return [f"{_names(names)} {told}" for told, names in by_kind.items()], unsure


def _apart(then: Sequence[Sketch | None], now: Sequence[Sketch | None]) -> tuple[str, float]:
    """How changes of a value differ, and by how much of the change; nothing if only by rounding."""
    if len(then) != len(now):
        return "was evaluated in other draws", 1.0
    pairs: list[tuple[Sketch, Sketch]] = []
    for a, b in zip(then, now, strict=True):
        if (a is None) != (b is None):
            return ("is not finite" if b is None else "is finite, and was not"), 1.0
        if a is not None and b is not None and a.apart(b) > ROUNDING:
            pairs.append((a, b))
    if not pairs:
        return "", 0.0
    most = max(a.apart(b) for a, b in pairs)
    if most > DOUBTFUL:
        by = factor([a for a, _ in pairs], [b for _, b in pairs])
        if by is not None:
            return f"changes by {by:.4g} times what it did", most
    return f"changes otherwise, by up to {most:.2g} of the change", most


def _of_numbers(then: RecordedStep, now: RecordedStep) -> Iterator[str]:
    paths = {role.name: role.path for role in now.variables}
    for name, number in then.numbers.items():
        if name in now.numbers and now.numbers[name] != number:
            yield f"{paths.get(name, name)} holds {now.numbers[name]:.6g}, and held {number:.6g}"


def _facts(then: RecordedStep, now: RecordedStep) -> list[str]:
    """The lines that only one has, once variables are called as they are now."""
    names = {role.name: role.path for role in now.variables}
    renamed = {
        role.path: names[role.name]
        for role in then.variables
        if names.get(role.name, role.path) != role.path
    }
    lines = list(then.facts)
    if renamed:
        longest = sorted(map(re.escape, renamed), key=len, reverse=True)
        pattern = re.compile(rf"(?<![\w/#])({'|'.join(longest)})(?![\w/#])")
        lines = [pattern.sub(lambda found: renamed[found[1]], line) for line in lines]
    before, after = Counter(lines), Counter(now.facts)
    gone = [f"- {line}" for line in (before - after).elements()]
    return gone + [f"+ {line}" for line in (after - before).elements()]


def _renamed(then: RecordedStep, now: RecordedStep) -> Iterator[str]:
    names = {role.name: role.path for role in now.variables}
    others = [
        f"{names[role.name]} was {role.path}"
        for role in then.variables
        if names.get(role.name, role.path) != role.path
    ]
    if others:
        yield f"other names: {_names(others)}"


def _ops(then: RecordedStep, now: RecordedStep) -> Iterator[str]:
    paths = {role.name: role.path for role in now.variables}
    others = [paths.get(n, n) for n, digits in then.ops_of.items() if now.ops_of.get(n) != digits]
    if others:
        counts = _counts(then.ops, now.ops)
        yield f"other ops write {_names(others)}{f' ({counts})' if counts else ''}"


def _counts(then: Mapping[str, int], now: Mapping[str, int]) -> str:
    return ", ".join(
        f"{now.get(one, 0)} {one}, not {then.get(one, 0)}"
        for one in sorted({*then, *now})
        if then.get(one, 0) != now.get(one, 0)
    )


def _specs(one: RecordedStep) -> str:
    shown = (f"{'?' if s is None else list(s)} {dtype}" for s, dtype, _ in one.arguments)
    return ", ".join(shown).replace("None", "?") or "nothing"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
