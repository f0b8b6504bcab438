"""One contract held against its step."""

from __future__ import annotations

import dataclasses
import time

from verify.contracts.expectation import expectation
from verify.contracts.files import Contract, ContractError
from verify.contracts.subject import captured, subject_of
from verify.failure import Violation
from verify.pause import no_collection


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of one contract. `error`: why it could not be checked, else None.

    `seconds`: (to make and trace the step, to check it).
    """

    contract: Contract
    violations: tuple[Violation, ...] = ()
    error: str | None = None
    seconds: tuple[float, float] = (0.0, 0.0)

    @property
    def kept(self) -> bool:
        return self.error is None and not self.violations

    @property
    def message(self) -> str:
        """All that is wrong, as text; empty if kept."""
        if self.error is not None:
            return self.error
        return "\n".join(
            f"{number}. " + str(violation).replace("\n", "\n   ")
            for number, violation in enumerate(self.violations, 1)
        )


def judge(contract: Contract) -> Verdict:
    """Makes the step, traces it and checks it; errors are part of the verdict."""
    place = f"contracts.{contract.name}"
    begun = time.perf_counter()
    try:
        expected = expectation(f"{contract.place}: {place}", contract.promise)
        step = captured(subject_of(contract))
    except ContractError as error:
        return Verdict(contract, error=str(error), seconds=(time.perf_counter() - begun, 0.0))
    traced = time.perf_counter()
    try:
        with no_collection():
            violations = tuple(expected.violations(step))
        error_text = None
    except (TypeError, ValueError) as error:
        violations, error_text = (), f"{contract.place}: {place}: {error}"
    return Verdict(contract, violations, error_text, (traced - begun, time.perf_counter() - traced))
