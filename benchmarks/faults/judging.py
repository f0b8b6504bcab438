"""What `verify` says of a fault and of its right twin."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

import verify
from benchmarks.faults.fault import Fault, Make, Trial, Watch
from verify.step_facts import lines_of


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What catches a fault, and what is said of the right step, which should be nothing.

    `lint`: ids of rules; `keywords`: of `assert_graph` that are violated; `snapshot`: the facts
    differ from those of the right step; `guard`: what is told while it trains; None where it is not
    trained. `alarms`: whatever is told of the right step.
    """

    fault: Fault
    lint: tuple[str, ...]
    keywords: tuple[str, ...]
    snapshot: bool
    guard: tuple[str, ...] | None
    alarms: tuple[str, ...]

    @property
    def caught(self) -> bool:
        """By the keyword, or by the guard."""
        return bool(self.keywords or self.guard)


def judged(fault: Fault) -> Verdict:
    """Holds a fault and its twin against the rules, the keywords, each other and the guard."""
    right = _made(fault.right)
    facts = verify.facts(right.step, *right.batch, model=right.model)
    kept = lines_of(facts)
    asked = _asked(fault, right, facts.fingerprint)
    alarms = [f"lint: {id}" for id in _linted(right)]
    alarms += [f"keyword: {keyword}" for keyword in _violated(right, asked)]
    if _snapshot(again := _made(fault.right)) != kept:
        alarms.append("snapshot: it differs from itself")
    if fault.watch is not None:
        alarms += [f"guard: {told}" for told in _watched(again, fault.watch)]
    wrong = _made(fault.wrong)
    asked = _asked(fault, wrong, facts.fingerprint)
    return Verdict(
        fault,
        _linted(wrong),
        _violated(wrong, asked),
        _snapshot(wrong) != kept,
        None if fault.watch is None else _watched(wrong, fault.watch),
        tuple(alarms),
    )


def _made(make: Make) -> Trial:
    """A trial with the names and the numbers that it would have alone."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    return make()


def _asked(fault: Fault, trial: Trial, fingerprint: str) -> dict[str, Any]:
    asked = fault.asked(trial)
    return {**asked, "fingerprint": fingerprint} if "fingerprint" in asked else asked


def _linted(trial: Trial) -> tuple[str, ...]:
    found = verify.lint(trial.step, *trial.batch, model=trial.model)
    return tuple(dict.fromkeys(finding.id for finding in found))


def _violated(trial: Trial, asked: dict[str, Any]) -> tuple[str, ...]:
    if not asked:
        return ()
    try:
        verify.assert_graph(trial.step, *trial.batch, model=trial.model, **asked)
    except verify.GraphAssertionError as error:
        return tuple(dict.fromkeys(violation.keyword.split()[0] for violation in error.violations))
    return ()


def _snapshot(trial: Trial) -> str:
    return lines_of(verify.facts(trial.step, *trial.batch, model=trial.model))


def _watched(trial: Trial, watch: Watch) -> tuple[str, ...]:
    """What a guard tells while a compiled model is fitted."""
    x, y = watch.data()
    guard = verify.Guard(every=1, **watch.promised)
    size = trial.batch[0][0].shape[0]
    try:
        trial.step.fit(x, y, batch_size=size, epochs=watch.epochs, verbose=0, callbacks=[guard])
    except verify.GraphAssertionError as error:
        return tuple(dict.fromkeys(violation.keyword.split()[0] for violation in error.violations))
    return ()
