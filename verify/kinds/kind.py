"""The protocol of a kind of fact: what one module has to give so that all of `verify` knows it.

A kind finds its facts in a step, shows them to a person and to a snapshot, checks what was
asserted of them, reads and writes the keys of contracts, and may colour its ops in pictures. Kinds
are listed in `verify.kinds.KINDS`; everything else iterates over that list.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from verify.find import Detector, Sides
from verify.kinds.facts import Facts
from verify.kinds.violation import Violation
from verify.step import Step


class Asked(Protocol):
    """All that is asked of a step at once: the expectation that a keyword is part of."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The keywords that were given, with their values."""

    def violations_in_branch(self, step: Step, settings: Any) -> list[Violation]:
        """What is not as `settings`, keywords again, say of one branch."""


Read = Callable[[str, Any], Any]
"""``(place, said) -> value``: what a contract says, as a value for a keyword."""


def _as_it_is(place: str, said: Any, read_nested: Read) -> Any:
    return said


@dataclasses.dataclass(frozen=True)
class Keyword:
    """A keyword of `verify.assert_graph`, and the key of contracts of the same name.

    Args:
        name: the keyword.
        spelling: what a contract may say, as a type for pydantic.
        check: ``(detector, value, asked) -> violations``; None for an option that only changes how
            other keywords are checked.
        rank: violations of a lower rank are told first.
        read: ``(place, said, read_nested) -> value``: what a contract says as a value of the
            keyword, where `read_nested` reads expectations within it. Raises ContractError, naming
            `place`.
        sides: ``(detector, value, draw) -> sides``: what a step computes of numbers that are drawn,
            and what it should compute. Raises NoValueError where that can't be computed.
        tight: ``(detector, said) -> said``: the tightest that a contract could say instead.
        default: of an option that is True or False, what it is if it is left out.
        by_entry: whether each entry of a mapping is a question, so that an empty one asks nothing.
    """

    name: str
    spelling: Any
    check: Callable[[Detector, Any, Asked], list[Violation]] | None = None
    rank: int = 0
    read: Callable[[str, Any, Read], Any] = _as_it_is
    sides: Callable[[Detector, Any, int], list[Sides]] | None = None
    tight: Callable[[Detector, Any], Any] | None = None
    default: Any = None
    by_entry: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """Facts under one title. `always`: where there are none, "none" is written.

    `joined`: a page has all entries in one line. `short`: what a page says instead, unless all is
    asked for.
    """

    title: str
    entries: tuple[str, ...]
    always: bool = False
    joined: bool = False
    short: tuple[str, ...] = ()

    @classmethod
    def of(cls, title: str, entries: Iterable[str], always: bool = False) -> Row:
        return cls(title, tuple(entries), always)

    @classmethod
    def listed(cls, title: str, names: Iterable[str]) -> Row:
        return cls(title, tuple(names), joined=True)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A part of a step in pictures. `before`: the cluster that it precedes, as a step runs."""

    name: str
    colour: str
    before: str


class Kind(abc.ABC):
    """One kind of fact, with the keywords that ask for it."""

    keywords: tuple[Keyword, ...] = ()
    cluster: Cluster | None = None

    @abc.abstractmethod
    def find(self, detector: Detector) -> dict[str, Any]:
        """The fields of `Facts` that this kind fills."""

    @abc.abstractmethod
    def page(self, facts: Facts) -> list[Row]:
        """Rows of the page that a person reads."""

    def snapshot(self, facts: Facts) -> list[Row]:
        """Rows of a snapshot: they stay the same as long as the step does."""
        return self.page(facts)

    def baseline(self, facts: Facts) -> dict[str, Any]:
        """The keys of a contract that say what is there today, each with its value."""
        return {}

    def limits(self, facts: Facts) -> dict[str, Any]:
        """The same, of a whole step only: branches have no such keys."""
        return {}

    def ops(self, detector: Detector) -> frozenset[int]:
        """The ops that are of this kind's `cluster`; none where dataflow alone decides."""
        return frozenset()
