"""Where a contract allows more than its step needs, and tightening it."""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import Any

import tomlkit

from verify.contracts.files import Contract
from verify.contracts.subject import detector_of, subject_of
from verify.detect import Detector
from verify.files import write_whole
from verify.selection import without_exceptions
from verify.step_facts import step_facts


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
    promise, found = contract.promise, list[Slack]()
    detector = detector_of(subject_of(contract))
    facts = step_facts(detector.step)
    for keyword, there in (("max_ops", facts.op_count), ("max_bytes", facts.constant_bytes)):
        said = getattr(promise, keyword)
        if said is not None and there < said:
            found.append(Slack(contract, keyword, said, there))
    if isinstance(promise.forbids, list):
        tight = _needed(promise.forbids, detector)
        if tight != promise.forbids:
            found.append(Slack(contract, "forbids", promise.forbids, tight))
    return found


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


def _needed(forbids: list[str], detector: Detector) -> list[str]:
    """`forbids` without exceptions that except nothing."""
    forbidden, _ = without_exceptions(forbids)
    there = {
        node.op
        for node in detector.flat.nodes
        if any(fnmatch.fnmatchcase(node.op, glob) for glob in forbidden)
    }
    return [glob for glob in forbids if not glob.startswith("!") or fnmatch.filter(there, glob[1:])]
