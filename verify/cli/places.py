"""Where a report points: a file as its repository knows it, and the line of a key."""

from __future__ import annotations

import re
from pathlib import Path

from verify.contracts import Contract

_GUARD = re.compile(r"""guards\[(?:'([^']*)'|"([^"]*)"): (\w+)\]""")


def in_repository(path: Path) -> Path:
    """A path from the root of its repository, or from the working folder where there is none.

    The whole path of what is in neither.
    """
    whole = path.resolve()
    root = next((one for one in whole.parents if (one / ".git").exists()), Path.cwd().resolve())
    return whole.relative_to(root) if whole.is_relative_to(root) else whole


def line_of(contract: Contract, keyword: str) -> int:
    """The line of the key that a violation is about; of the contract, if that is not found."""
    path: list[str] = []
    for single, double, value in _GUARD.findall(keyword):
        path += ["guards", single or double, value.lower()]
    path.append(keyword.rpartition(" ")[2])
    known = (contract.lines.get((*path[:end],)) for end in range(len(path), 0, -1))
    return next((line for line in known if line is not None), contract.line)
