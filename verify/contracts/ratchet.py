"""Where a contract allows more than its step needs, and tightening it."""

from __future__ import annotations

import dataclasses
from typing import Any

import tomlkit

from loopctl_shared import write_whole
from verify.contracts.files import Contract
from verify.contracts.subject import detector_of, subject_of
from verify.kinds import KEYWORDS


@dataclasses.dataclass(frozen=True)
class Slack:
    """One keyword of a contract that could be tighter. `tight`: what it could say."""

    contract: Contract
    keyword: str
    said: Any
    tight: Any

    def __str__(self) -> str:
        return f"{self.keyword} = {self.said!r} could be {self.tight!r}"


def slack(contract: Contract) -> list[Slack]:
    """What a contract that is kept allows beyond what is there: sizes, exceptions from `forbids`.

    All other keywords say exactly what has to be there, so that nothing of them can be loose.
    """
    promise, detector = contract.promise, detector_of(subject_of(contract))
    found = []
    for name, keyword in KEYWORDS.items():
        said = getattr(promise, name)
        if keyword.tight is not None and said is not None:
            tight = keyword.tight(detector, said)
            if tight != said:
                found.append(Slack(contract, name, said, tight))
    return sorted(found, key=lambda one: not isinstance(one.said, int))  # sizes first


def tighten(slacks: list[Slack]) -> None:
    """Rewrites the contracts' files; comments and order stay. Each file is replaced as a whole."""
    by_path: dict[Any, list[Slack]] = {}
    for one in slacks:
        by_path.setdefault(one.contract.path, []).append(one)
    for path, several in by_path.items():
        document: Any = tomlkit.parse(path.read_text("utf-8"))
        for one in several:
            document["contracts"][one.contract.name][one.keyword] = one.tight
        write_whole(path, tomlkit.dumps(document))
