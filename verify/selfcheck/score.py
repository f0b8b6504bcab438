"""Plants faults and counts: how many are caught and named rightly, how many alarms are false."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from verify.assertions import GraphAssertionError, assert_graph, assert_same_step
from verify.selfcheck.planted import Fault
from verify.selfcheck.samples import KINDS
from verify.selfcheck.training import Training

SAME = "same step"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What `verify` said of one step; `fault` is None for a correct one.

    `right`: a correct step passed, or a fault was caught and named as it should be.
    """

    fault: str | None
    kind: str
    optimizer: str
    caught: bool
    right: bool
    message: str


@dataclasses.dataclass(frozen=True)
class Score:
    verdicts: tuple[Verdict, ...]

    @property
    def planted(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.fault is not None]

    @property
    def correct(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.fault is None]

    @property
    def wrong(self) -> list[Verdict]:
        return [v for v in self.verdicts if not v.right]

    def __str__(self) -> str:
        caught = sum(v.caught for v in self.planted)
        named = sum(v.right for v in self.planted)
        alarms = sum(v.caught for v in self.correct)
        faults = len({v.fault for v in self.planted})
        return (
            f"{faults} faults: caught {caught} of {len(self.planted)} planted, "
            f"{named} named rightly; {alarms} false alarms on {len(self.correct)} correct steps"
        )


def check(cases: Iterable[tuple[Fault, str, str]]) -> Iterator[Verdict]:
    """Plants each fault in a step of its kind of model and optimizer; its correct twin comes first.

    Args:
        cases: faults, with names of `samples.KINDS` and of `samples.OPTIMIZERS`.
    """
    known: set[tuple[type[Training], str, str]] = set()
    for fault, kind, optimizer in cases:
        keras.utils.clear_session(free_memory=False)
        sample = KINDS[kind]()
        correct = fault.correct(sample, optimizer)
        twin = (fault.correct, kind, optimizer)
        if twin not in known:
            known.add(twin)
            message = message_of(correct)
            yield Verdict(None, kind, optimizer, bool(message), not message, message)
        if fault.keyword == SAME:
            message = message_of_pair(correct, sharing(fault.training, correct))
        else:
            message = message_of(fault.training(sample, optimizer))
        right = bool(message) and named_rightly(fault, message)
        yield Verdict(fault.name, kind, optimizer, bool(message), right, message)


def message_of(training: Training) -> str:
    """What `assert_graph` says of a step; empty if it is as expected."""
    try:
        expected = training.expected()
        assert_graph(_step(training), *training.batch, model=training.model, **expected)
    except GraphAssertionError as error:
        return str(error)
    return ""


def message_of_pair(correct: Training, other: Training) -> str:
    """What `assert_same_step` says of two steps; empty if they do the same."""
    try:
        assert_same_step(_traced(correct), _traced(other))
    except GraphAssertionError as error:
        return str(error)
    return ""


def sharing(training: type[Training], correct: Training) -> Training:
    """Another training of the very variables, optimizer and metric of a correct one."""
    other = training.__new__(training)
    other.__dict__.update(correct.__dict__)
    return other


def named_rightly(fault: Fault, message: str) -> bool:
    """Whether a message names a fault, and nothing that is right."""
    violated = set(re.findall(r"^\d+\. (?:guards\[.*\] )?(same step|\w+)", message, re.MULTILINE))
    if fault.keyword == "guards":
        violated = {"guards" if "guards[" in message else keyword for keyword in violated}
    allowed = {fault.keyword, *fault.also}
    return fault.keyword in violated <= allowed and re.search(fault.told, message) is not None


def _step(training: Training) -> Any:
    @tf.function(autograph=False)
    def step(*batch: Any) -> Any:
        return training.step(*batch)

    return step


def _traced(training: Training) -> Any:
    return _step(training).get_concrete_function(*training.batch)
