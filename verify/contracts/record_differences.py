"""What a record and a step of now differ in: in what they mean, or in how they look alone."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from verify.contracts.recorded_values import UNKNOWN, Kept
from verify.contracts.records import Record, RecordedStep, recorded
from verify.contracts.roles import paired, roles_of
from verify.contracts.sketches import DOUBTFUL, ROUNDING, Sketch, factor
from verify.flow import flow_of
from verify.step import Step

Outcome = Literal["same", "alike", "other", "unsure"]

_ENOUGH = 3  # draws in which something is finite
_SHOWN = 3  # names of variables that differ in one way
_LOOKS = ("fingerprint: ", "objective: ", "passes: ", "hazard: ")
"""Facts that tell how a formula is written; all others tell what a step is."""


_OTHERWISE = "another change"
_DIGITS = re.compile(r" ?\[[0-9a-f]{12}\]")


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
    own = roles_of(step, flow_of(step.flat, (), step.trainable))
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
    spelled = Counter(f"{line[0]}{_DIGITS.sub('', line[1:])}" for line in facts)
    meant = [
        line
        for line in facts
        if not line[2:].startswith(_LOOKS)
        # What has no name is told by digits of its ops.
        and not (_DIGITS.search(line) and spelled[_opposite(line)])
    ]
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
    other, unsure = _Told(then, now), _Told(then, now)
    random = [_random(one) for one in (then, now)]
    redrawn = then.random != now.random
    for name in dict.fromkeys([*then.ops_of, *now.ops_of, *then.values, *now.values]):
        known = name in {*then.ops_of, *then.values}
        if not known or name not in {*now.ops_of, *now.values}:
            what = "returned" if name.startswith("output ") else "written"
            other.add(f"not {what} any more" if known else f"{what} now, and was not", name)
            continue
        a, b = then.values.get(name, ()), now.values.get(name, ())
        told, apart = _apart(a, b)
        if not told:
            good = sum(UNKNOWN not in pair and None not in pair for pair in zip(a, b, strict=False))
            if good < _ENOUGH:
                why = then.unknown.get(name) or now.unknown.get(name) or "it is not finite"
                unsure.add(f"can't be compared: {why}", name)
        elif redrawn and name in random[0] and name in random[1]:
            counts = _counts(then.random, now.random)
            unsure.add(f"{told}, but other random numbers are drawn: {counts}", name, apart)
        elif apart <= DOUBTFUL:
            what = "rounding, or another small number, such as an epsilon"
            unsure.add(f"{told}: {what}", name, apart)
        else:
            other.add(told, name, apart)
    if then.acts != now.acts:
        other.add(f"other effects: {_counts(then.acts, now.acts)}", "the step")
    return [*other], [*unsure]


def _random(one: RecordedStep) -> set[str]:
    """What random numbers may decide: of what is returned, that is not known."""
    returned = {name for name in one.values if name.startswith("output ") and one.random}
    return returned | {role.name for role in one.variables if role.random}


class _Told:
    """What is told of several variables: those that are trained first, each thing once."""

    def __init__(self, *steps: RecordedStep) -> None:
        roles = [role for step in steps for role in step.variables]
        self._paths = {role.name: role.path for role in roles}
        self._trained = {role.name for role in roles if role.trained}
        self._names: dict[str, list[str]] = {}
        self._apart: dict[str, float] = {}

    def add(self, told: str, name: str, apart: float = 0.0) -> None:
        self._names.setdefault(told, []).append(name)
        self._apart[told] = max(apart, self._apart.get(told, 0.0))

    def __iter__(self) -> Iterator[str]:
        for told, names in self._names.items():
            ordered = sorted(names, key=lambda name: name not in self._trained)
            shown = _names([self._paths.get(name, name) for name in ordered])
            apart = 100 * self._apart[told]
            most = f"{apart:.0f}%" if apart >= 10 else f"{apart:.2g}%"
            yield f"{shown}: {told.replace(_OTHERWISE, f'{_OTHERWISE}, by up to {most} of it')}"


def _apart(then: Sequence[Kept], now: Sequence[Kept]) -> tuple[str, float]:
    """How changes of a value differ, and by how much of the change; nothing if only by rounding."""
    if len(then) != len(now):
        return "evaluated in other draws", 1.0
    pairs: list[tuple[Sketch, Sketch]] = []
    for a, b in zip(then, now, strict=True):
        if UNKNOWN in (a, b):
            continue
        if (a is None) != (b is None):
            return ("not finite any more" if b is None else "finite now, and was not"), 1.0
        if isinstance(a, Sketch) and isinstance(b, Sketch) and a.apart(b) > ROUNDING:
            pairs.append((a, b))
    if not pairs:
        return "", 0.0
    most = max(a.apart(b) for a, b in pairs)
    by = factor([a for a, _ in pairs], [b for _, b in pairs]) if most > DOUBTFUL else None
    return (_OTHERWISE if by is None else f"{by:.4g} times the change"), most


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


def _opposite(line: str) -> str:
    return f"{'-' if line[0] == '+' else '+'}{_DIGITS.sub('', line[1:])}"


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
    others = [
        paths.get(name, name)
        for name, digits in then.ops_of.items()
        if now.ops_of.get(name, digits) != digits
    ]
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
