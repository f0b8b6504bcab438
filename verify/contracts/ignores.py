"""Comments of a contract file that silence rules of ``lint`` for the step of a contract.

``# verify: ignore[V501] the penalty is added later`` above a contract's table, or within it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from verify.contracts.files import Contract
from verify.contracts.lines import comments_of
from verify.errors import ContractError
from verify.printable import printable_text
from verify.rules import rule_of

_FORM = re.compile(r"#\s*verify:\s*ignore\s*\[([^\]]*)\]\s*(.*)$")
_MEANT = re.compile(r"#\s*verify\s*:")
_WRITE = "write # verify: ignore[V101] and the reason"


@dataclasses.dataclass(frozen=True)
class Ignore:
    """One comment: the rules that it silences, and why."""

    line: int
    ids: tuple[str, ...]
    reason: str


def ignores_of(contracts: Sequence[Contract], text: str) -> dict[str, tuple[Ignore, ...]]:
    """By name of each contract of one file, the comments that are about it.

    Raises:
        ContractError: with every comment that is none, names no rule, gives no reason, or is about
            no contract.
    """
    mistakes: list[str] = []
    found: dict[str, list[Ignore]] = {contract.name: [] for contract in contracts}
    lines = text.splitlines()
    begun = {contract.line: contract.name for contract in contracts}
    for number, comment in comments_of(text):
        if not _MEANT.match(comment):
            continue
        try:
            ignore = _read(number, comment)
        except ValueError as error:
            mistakes.append(f"{_place(contracts, number)}: {error}")
            continue
        name = _about(number, lines, begun)
        if name is None:
            told = "is about no contract: it stands above none, and in none"
            mistakes.append(f"{_place(contracts, number)}: ignore[{', '.join(ignore.ids)}] {told}")
        else:
            found[name].append(ignore)
    if mistakes:
        raise ContractError(printable_text("\n".join(mistakes)))
    return {name: tuple(several) for name, several in found.items()}


def _place(contracts: Sequence[Contract], line: int) -> str:
    return f"{contracts[0].path}:{line}"


def _read(line: int, comment: str) -> Ignore:
    match = _FORM.match(comment)
    if match is None:
        raise ValueError(f"{comment.strip()!r} is not a known comment; {_WRITE}")
    ids = tuple(rule_of(id.strip()).id for id in match[1].split(",") if id.strip())
    if not ids:
        raise ValueError(f"ignore[] names no rule; {_WRITE}")
    if not match[2].strip():
        raise ValueError(f"ignore[{', '.join(ids)}] gives no reason; {_WRITE}")
    return Ignore(line, ids, match[2].strip())


def _about(number: int, lines: Sequence[str], begun: Mapping[int, str]) -> str | None:
    """The contract that a comment stands above, or else in."""
    below = number
    while below <= len(lines) and lines[below - 1].lstrip().startswith("#"):
        below += 1
    if below in begun:
        return begun[below]
    before = [line for line in begun if line <= number]
    return begun[max(before)] if before else None


def unused(ignore: Ignore, asked: Collection[str], found: Collection[str]) -> Iterator[str]:
    """What is said of a comment that silences nothing: of its rules that were asked."""
    for id in ignore.ids:
        if id in asked and id not in found:
            yield f"line {ignore.line}: ignore[{id}] silences nothing: take it out"
