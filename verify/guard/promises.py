"""What a guard holds a step against: a contract of a file, keywords, or a snapshot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from loopctl_shared import CONTRACT_SUFFIX, near_spellings
from verify.assertions import Expectation
from verify.contracts import Contract, expected_of, read
from verify.errors import ContractError
from verify.find import Detector
from verify.kinds import Violation
from verify.rules import Rule, findings
from verify.step import Step
from verify.step_facts import changes, is_of_first_edition, lines_of, step_facts

SNAPSHOT_SUFFIX = ".graph"


class Promise(Protocol):
    """What a step has to be."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The keywords of `verify.assert_graph` that it says, where it says any."""

    def violations(self, step: Step) -> list[Violation]:
        """Every way in which a step breaks it."""

    def place(self, keyword: str) -> str | None:
        """Where that is written, as ``file:line``."""


@dataclasses.dataclass(frozen=True)
class Said:
    """A promise by keywords, of Python or of a contract's file."""

    expectation: Expectation
    contract: Contract | None = None

    @property
    def values(self) -> Mapping[str, Any]:
        return self.expectation.values

    def violations(self, step: Step) -> list[Violation]:
        return self.expectation.violations_of(Detector(step))

    def place(self, keyword: str) -> str | None:
        contract = self.contract
        return None if contract is None else f"{contract.path}:{contract.line_of(keyword)}"


@dataclasses.dataclass(frozen=True)
class Kept:
    """A promise by the facts that a snapshot of the pytest fixture has kept."""

    path: Path
    text: str

    @property
    def values(self) -> Mapping[str, Any]:
        return {"watched": [line[9:] for line in self._lines("watched: ")] or None}

    def violations(self, step: Step) -> list[Violation]:
        changed = changes(self.text, lines_of(step_facts(step)))
        if not changed:
            return []
        kept = [line[2:] for line in changed if line.startswith("- ")]
        found = [line[2:] for line in changed if line.startswith("+ ")]
        told = "\n".join(kept) or "nothing of", "\n".join(found) or "nothing of it"
        return [Violation("snapshot", *told)]

    def place(self, keyword: str) -> str | None:
        return str(self.path)

    def _lines(self, begin: str) -> list[str]:
        return [line for line in self.text.splitlines() if line.startswith(begin)]


@dataclasses.dataclass(frozen=True)
class Sound:
    """A promise that breaks none of some rules of `verify.lint`, besides another or alone."""

    rules: Sequence[Rule]
    other: Promise | None = None

    @property
    def values(self) -> Mapping[str, Any]:
        return {} if self.other is None else self.other.values

    def violations(self, step: Step) -> list[Violation]:
        instead = {rule.id: rule.instead for rule in self.rules}
        told = [] if self.other is None else self.other.violations(step)
        return told + [
            Violation(
                f"{one.id} {one.title}",
                instead[one.id],
                one.message if one.place in one.message else f"{one.message}, at {one.place}",
                (one.page,),
            )
            for one in findings(Detector(step), self.rules)
        ]

    def place(self, keyword: str) -> str | None:
        return None if self.other is None else self.other.place(keyword)


def promise_of(
    said: str | Path | None, keywords: Mapping[str, Any], rules: Sequence[Rule] = ()
) -> Promise:
    """A promise from the path of a file, with ``#name`` of one contract of several, or keywords.

    `rules`: of `verify.lint`, which are promised as well, or alone.

    Raises:
        ContractError: the file can't be read, or does not say which of its contracts is meant.
        TypeError: both are given, or nothing, or a keyword that nothing knows.
    """
    if rules:
        alone = said is None and not keywords
        return Sound(rules, None if alone else promise_of(said, keywords))
    if (said is None) == (not keywords):
        told = "neither" if said is None else f"both {str(said)!r} and {', '.join(keywords)}"
        raise TypeError(
            "a Guard takes a contract's or a snapshot's path, keywords of verify.assert_graph, or "
            f"lint=True: {told} given"
        )
    if said is None:
        return Said(Expectation.of(keywords))
    name, _, chosen = str(said).partition("#")
    path = Path(name)
    if path.name.endswith(SNAPSHOT_SUFFIX):
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError(f"{path}: can't be read: {error}") from None
        if is_of_first_edition(text):
            raise ContractError(
                f"{path} was written by loopctl 0.1, which recorded less about a step: run the "
                "test that writes it with pytest --graph-update"
            )
        return Kept(path, text)
    if not path.name.endswith(CONTRACT_SUFFIX):
        raise ContractError(
            f"{path} is neither a contract (*{CONTRACT_SUFFIX}) nor a snapshot (*{SNAPSHOT_SUFFIX})"
        )
    contract = _chosen(path, read(path), chosen)
    return Said(expected_of(contract), contract)


def _chosen(path: Path, contracts: Sequence[Contract], name: str) -> Contract:
    if not name and len(contracts) == 1:
        return contracts[0]
    names = [contract.name for contract in contracts]
    if name in names:
        return contracts[names.index(name)]
    if not name:
        raise ContractError(f"{path} has several contracts: choose one, {path}#{names[0]}")
    near = near_spellings(name, names)
    meant = f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(names)}"
    raise ContractError(f"{path} has no contract {name!r}{meant}")
