"""What a contract says -> the `Expectation` that is checked."""

from __future__ import annotations

from typing import Any

from verify.assertions import Expectation
from verify.contracts.files import Contract
from verify.kinds import KEYWORDS


def expectation(place: str, expected: Any) -> Expectation:
    """The expectation that a contract spells.

    Args:
        place: of the contract, for messages.
        expected: what it says, a `verify.contracts.schema.Expected`.

    Raises:
        ContractError: a loss or regulariser that is nowhere to be found, or not with such settings.
    """
    said = {name: getattr(expected, name) for name in KEYWORDS if name in expected.model_fields_set}
    return Expectation.of(
        {
            name: KEYWORDS[name].read(f"{place}.{name}", value, expectation)
            for name, value in said.items()
            if value is not None
        }
    )


def expected_of(contract: Contract) -> Expectation:
    """What a contract of a file says.

    Raises:
        ContractError: as for `expectation`.
    """
    return expectation(f"{contract.place}: contracts.{contract.label}", contract.promise)
