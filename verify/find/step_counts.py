"""Whether an optimizer counts the steps that it makes, or more.

Where its update depends on how many steps it has made, as a bias correction or a schedule does,
values tell as which of several steps it makes each update; a step that is counted and that no
update is made as was counted on top.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from verify.find.observed import Observed
from verify.references import accumulators, counter_of


def steps_counted(observed: Observed, optimizer: Any) -> int:
    """How many steps an optimizer counts each time; 1 where that depends on a branch, or a loop."""
    if accumulators(optimizer)[0] > 1:
        return 1  # of several calls that gradients are added up in, one is a step
    key, flat = counter_of(optimizer), observed.flat
    paths = [
        node.path
        for node, variable in flat.writes()
        if variable.key == key and observed.flow.inside(node)
    ]
    told = len(set(paths)) == 1 and not flat.loops(paths[0])
    return len(paths) if told else 1


def steps_made(every: Iterable[frozenset[int]]) -> int | None:
    """As how many different steps updates are made, of the steps that each may be made as.

    None where that is not told: an update that depends on no count may be made as any.
    """
    found = list(every)
    if not found or any(len(one) != 1 for one in found):
        return None
    return len(frozenset[int]().union(*found))
