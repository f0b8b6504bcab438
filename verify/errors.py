"""The error outside of any verdict. It imports nothing, so that commands can always catch it."""

from __future__ import annotations


class ContractError(ValueError):
    """A contract that can't be read, or whose step can't be made; the message names the place."""
