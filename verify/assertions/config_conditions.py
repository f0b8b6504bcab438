"""Whether the main step chooses each branch where the condition of its action holds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from verify.assertions.config_updates import Counts, UnsaidError
from verify.find import Chosen, Detector
from verify.kinds import Violation
from verify.match import NoValueError

_NUMBERS = (*range(13), 19, 20, 40, 99, 100, 101, 1000)  # that counters may hold
_MOST = 200  # combinations of these that are tried


def chosen_otherwise(detector: Detector, path: str, cond: Any) -> list[Violation]:
    """Where the step sets a variable to something else than a condition of ``when`` says.

    Args:
        detector: of the main step.
        path: that of the variable that chooses the branch.
        cond: computed from counters alone.

    Raises:
        UnsaidError: it is computed from other values, or those can't be put in.
    """
    _value(cond, dict.fromkeys(cond.counters, 0))
    if not cond.counters:
        return []
    wish = f"{path} where {cond}"
    found = [one for one in detector.conditions if one.name == path]
    if not found:
        return [Violation("conditions", wish, "no expression sets it")]
    (condition,) = found
    paths = {v.path.rpartition("/")[2]: v.path for v in condition.variables}
    there = Chosen(detector.flat, condition)
    names = sorted(paths.keys() | cond.counters)
    numbers = itertools.product(_NUMBERS, repeat=len(names))
    step = max(1, len(_NUMBERS) ** len(names) // _MOST)
    for one in itertools.islice(numbers, 0, None, step):
        held = dict(zip(names, one, strict=True))
        try:
            is_chosen = there.where({path: held[name] for name, path in paths.items()})
        except NoValueError as why:
            raise UnsaidError(str(why)) from None
        if is_chosen != _value(cond, held):
            told = ", ".join(f"{name} = {number}" for name, number in held.items())
            return [
                Violation("conditions", wish, f"where {condition.value}", (f"not where {told}",))
            ]
    return []


def _value(cond: Any, held: Mapping[str, int]) -> bool:
    return bool(np.asarray(cond.evaluate(_Held(0, held))))


@dataclasses.dataclass(frozen=True)
class _Held(Counts):
    """Where each counter has come to a number of its own."""

    held: Mapping[str, int]

    def counter(self, name: str) -> Any:
        return self.constant(self.held[name])
