"""Contracts: what steps have to be, in files that a gate holds them against."""

from verify.contracts.files import Contract, ContractError, read
from verify.contracts.judge import Verdict, judge

__all__ = ["Contract", "ContractError", "Verdict", "judge", "read"]
