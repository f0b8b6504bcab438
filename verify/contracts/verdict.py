"""One contract held against its step."""

from __future__ import annotations

import dataclasses
import time

from verify.assertions import Expectation
from verify.contracts.expectation import expected_of
from verify.contracts.files import Contract
from verify.contracts.ratchet import Slack, slack
from verify.contracts.subject import detector_of, subject_of
from verify.errors import ContractError
from verify.graphs import no_collection
from verify.kinds import Violation


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of one contract. `error`: why it could not be checked, else None.

    `seconds`: (to make and trace the step, to check it). `slack`: where it allows more than is
    there, if that was asked for and it is kept.
    """

    contract: Contract
    violations: tuple[Violation, ...] = ()
    error: str | None = None
    seconds: tuple[float, float] = (0.0, 0.0)
    slack: tuple[Slack, ...] = ()

    @property
    def kept(self) -> bool:
        return self.error is None and not self.violations

    @property
    def in_one_line(self) -> str:
        """The first thing that is wrong, for summaries; empty if kept."""
        if self.error is not None:
            place = f"{self.contract.place}: contracts.{self.contract.label}: "
            return self.error.partition("\n")[0].removeprefix(place)
        return self.violations[0].in_one_line if self.violations else ""

    @property
    def message(self) -> str:
        """All that is wrong, as text; empty if kept."""
        if self.error is not None:
            return self.error
        return "\n".join(
            f"{number}. " + str(violation).replace("\n", "\n   ")
            for number, violation in enumerate(self.violations, 1)
        )


def judge(contract: Contract, ratchet: bool = False) -> Verdict:
    """Makes the step, traces it and checks it; errors are part of the verdict.

    Args:
        ratchet: look for slack, too. Exceptions that except nothing are slack then, no error.
    """
    place = f"contracts.{contract.label}"
    begun = time.perf_counter()
    try:
        expected = expected_of(contract)
        detector = detector_of(subject_of(contract))
    except ContractError as error:
        return Verdict(contract, error=str(error), seconds=(time.perf_counter() - begun, 0.0))
    traced = time.perf_counter()
    violations: tuple[Violation, ...] = ()
    loose: tuple[Slack, ...] = ()
    told = None
    try:
        with no_collection():
            if ratchet:
                loose = tuple(slack(contract))
                needed = {one.keyword: one.tight for one in loose if one.keyword == "forbids"}
                expected = Expectation.of({**expected.values, **needed})
            violations = tuple(expected.violations_of(detector))
    except (TypeError, ValueError) as error:
        told = f"{contract.place}: {place}: {error}"
    seconds = (traced - begun, time.perf_counter() - traced)
    kept = told is None and not violations
    return Verdict(contract, violations, told, seconds, loose if kept else ())
