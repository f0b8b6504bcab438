"""Differences between records, or between a record and steps as they are, as a report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from verify.cli.record import RECORD_SUFFIX
from verify.cli.reports import Entry, Report, Said
from verify.contracts import (
    Difference,
    Record,
    RecordedStep,
    captured,
    difference,
    drawn_here,
    now_of,
    read_record,
    subject_from,
)
from verify.errors import ContractError
from verify.printable import printable, printable_text

MEANINGS = {
    "same": "the same",
    "alike": "means the same, looks different",
    "other": "means another thing",
    "unsure": "can't tell whether it means the same",
}


@dataclasses.dataclass(frozen=True)
class Compared:
    """A step of a record, and how it has changed; `error`: why it could not be made."""

    target: str
    difference: Difference | None
    error: str | None = None
    seconds: tuple[float, float] = (0.0, 0.0)


def compared(path: Path, other: str | None) -> list[Compared]:
    """The steps of a record as they are now, or as they are in another record.

    Args:
        other: another record, or the step that is meant; None for all.

    Raises:
        ContractError: a file is no record, or the record does not know the step.
    """
    then = read_record(path)
    if other is not None and other.endswith(RECORD_SUFFIX):
        return [*_with_record(then, read_record(Path(other)))]
    return [_now(then, step, target) for step, target in _chosen(path, then, other)]


def _chosen(path: Path, then: Record, target: str | None) -> list[tuple[RecordedStep, str]]:
    if target is None:
        return [(step, step.target) for step in then.steps]
    named = [step for step in then.steps if step.target == target]
    if not named and len(then.steps) != 1:
        there = ", ".join(step.target for step in then.steps)
        raise ContractError(f"{path}: has no {target}; it has {there}")
    return [((named or [*then.steps])[0], target)]


def _now(then: Record, step: RecordedStep, target: str) -> Compared:
    begun = time.perf_counter()
    try:
        captive = captured(subject_from(target))
    except ContractError as error:
        return Compared(target, None, str(error), (time.perf_counter() - begun, 0.0))
    traced = time.perf_counter()
    found = difference(step, now_of(step, captive), then.drawn == drawn_here())
    return Compared(target, found, None, (traced - begun, time.perf_counter() - traced))


def _with_record(then: Record, now: Record) -> Iterator[Compared]:
    there = {step.target: step for step in now.steps}
    for step in then.steps:
        if step.target not in there:
            yield Compared(step.target, None, f"{step.target}: is in the first record alone")
        else:
            alike = then.drawn == now.drawn
            yield Compared(step.target, difference(step, there[step.target], alike))
    for target in there.keys() - {step.target for step in then.steps}:
        yield Compared(target, None, f"{target}: is in the second record alone")


def report_of(path: Path, every: Sequence[Compared], exact: bool) -> Report:
    """The report of ``diff`` with a record. `exact`: what looks different is wrong as well."""
    good = {"same"} if exact else {"same", "alike"}
    return Report(
        name="records",
        about="record",
        key="steps",
        statuses=("same", "alike", "other", "unsure"),
        quiet=frozenset({"alike", "unsure"}),
        doing="compare",
        entries=tuple(_entry(path, number, one, good) for number, one in enumerate(every, 2)),
        unreadable=(),
        rules={status: {"shortDescription": {"text": told}} for status, told in MEANINGS.items()},
    )


def _entry(path: Path, line: int, one: Compared, good: set[str]) -> Entry:
    status = "error" if one.difference is None else one.difference.outcome
    message = one.error or ""
    if one.difference is not None and status != "same":
        message = printable_text("\n".join([MEANINGS[status], one.difference.message]).strip())
    is_good = status in good
    said = () if is_good or one.error else (Said(status, message, path, line, one.target),)
    return Entry(
        label=printable(one.target),
        place=printable_text(f"{path}:{line}").replace("\n", r"\n"),
        path=path,
        line=line,
        status=status,
        good=is_good,
        message=message,
        said=said,
        error=one.error,
        seconds=one.seconds,
        data={
            "name": one.target,
            "status": status,
            "means": MEANINGS.get(status, ""),
            "told": [] if one.difference is None else list(one.difference.told),
            "looks": [] if one.difference is None else list(one.difference.looks),
        },
    )
