"""Long lists of names, told by what the names begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ROOMY = 12  # no list that is shorter is folded,
_MOST = 8  # into at most so many lines
_PART = re.compile(r"[^/_ ]*[/_ ]?")  # of a name: conv2_block1_1_conv/bias has five


def folded(names: Sequence[str]) -> list[str]:
    """The names, or, of many, their common beginnings with counts: ``conv2_* (42)``."""
    if len(names) <= _ROOMY:
        return [*names]
    groups, whole = [[*names]], list[list[str]]()
    while groups:
        largest = max(groups, key=len)
        groups.remove(largest)
        parts = _parts(largest)
        if len(parts) == 1 or len(parts) + len(groups) + len(whole) > _MOST:
            whole.append(largest)
        else:
            groups += parts
    told = [group[0] if len(group) == 1 else _told(group) for group in whole]
    return sorted(told)


def _told(names: list[str]) -> str:
    return f"{_beginning(names)}* ({len(names)})"


def _beginning(names: list[str]) -> str:
    """What all begin with, up to where a part of a name ends."""
    first, last = min(names), max(names)  # what these share, all share
    end = next((i for i, sign in enumerate(first) if last[i : i + 1] != sign), len(first))
    return re.sub(r"[^/_ ]*$", "", first[:end])


def _parts(names: list[str]) -> list[list[str]]:
    """The names by the first part in which they differ."""
    start, found = len(_beginning(names)), dict[str, list[str]]()
    for name in names:
        part = _PART.match(name, start)
        found.setdefault(part[0] if part is not None else "", []).append(name)
    return [*found.values()]
