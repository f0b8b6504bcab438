"""All rules, by id."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from verify.rules import (
    averages,
    batch,
    losses,
    randomness,
    regularisers,
    trained,
    updates,
)
from verify.rules.rule import Rule

_GROUPS = (trained, updates, losses, batch, regularisers, randomness, averages)

RULES: dict[str, Rule] = {rule.id: rule for group in _GROUPS for rule in group.RULES}


def rule_of(id: str) -> Rule:
    """The rule of an id, in whatever case.

    Raises:
        ValueError: there is none.
    """
    rule = RULES.get(id.upper())
    if rule is None:
        near = difflib.get_close_matches(id.upper(), RULES, 1, cutoff=0.5)
        meant = f"; did you mean {near[0]} ({RULES[near[0]].title.lower()})?" if near else ""
        raise ValueError(f"there is no rule {id!r}{meant or f'; there are {_first()}'}")
    return rule


def _first() -> str:
    ids = list(RULES)
    return f"{ids[0]} to {ids[-1]}"


def chosen(select: Iterable[str], ignore: Iterable[str]) -> list[Rule]:
    """The rules that are selected, all if none is, but for those that are ignored.

    Raises:
        ValueError: an id that is none.
    """
    wanted, left_out = ([rule_of(id).id for id in ids] for ids in (select, ignore))
    every = wanted or list(RULES)
    return [RULES[id] for id in RULES if id in every and id not in left_out]
