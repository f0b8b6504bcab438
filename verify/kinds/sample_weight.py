"""Sample weights: whether they multiply the loss of each example as in Keras, or decide nothing."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.flow import Update
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.lines import at_losses
from verify.kinds.selection import names
from verify.kinds.violation import UNTOLD, Violation
from verify.match import NoValueError

_USED = "the loss of each example times its sample weight"
_UNUSED = "no sample weight in what is trained"


@at_losses
def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    if not isinstance(expected, bool):
        raise TypeError(f"sample_weight: {expected!r} is neither True nor False")
    weights = detector.sample_weights
    wish = _USED if expected else _UNUSED
    if not weights.handed:
        told = "the step is given no sample weights, (x, y, sample_weight)"
        return [Violation("sample_weight", wish, told)] if expected else []
    if not weights.reached:
        told = f"sample weights have no effect on {_paths(detector.flow.trained)}"
        return [Violation("sample_weight", wish, told)] if expected else []
    try:
        ignored = weights.ignored()
        if not expected:
            left = [update for update in weights.reached if update not in ignored]
            told = f"sample weights affect {_paths(left)}"
            return [Violation("sample_weight", wish, told)] if left else []
        if ignored:
            told = f"sample weights have no effect on {_paths(ignored)}"
            return [Violation("sample_weight", wish, told)]
        return [Violation("sample_weight", wish, wrong) for wrong in weights.wrong()]
    except NoValueError as why:
        return [Violation("sample_weight", wish, f"{UNTOLD}: {why}")]


def _paths(updates: list[Update]) -> str:
    return names({update.variable.path for update in updates})


class _SampleWeight(Kind):
    keywords = (Keyword("sample_weight", bool, _check, rank=3),)

    def find(self, detector: Detector) -> dict[str, Any]:
        weights = detector.sample_weights
        return {"weighted": bool(weights.reached) if weights.handed else None}

    def page(self, facts: Facts) -> list[Row]:
        # A step may be handed something else in this place: rewards, say.
        decides = (
            "what is trained, as sample weights do" if facts.weighted else "nothing that is trained"
        )
        return [Row.of("third argument", [] if facts.weighted is None else [f"decides {decides}"])]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {} if facts.weighted is None else {"sample_weight": facts.weighted}


KIND = _SampleWeight()
