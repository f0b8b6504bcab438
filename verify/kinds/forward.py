"""Predictions: what a loss judges is what a model, or a function, computes."""

from __future__ import annotations

from typing import Any

from verify.find import Detector, known_losses
from verify.kinds.contract_spelling import Off
from verify.kinds.dotted_names import imported
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Read, Row
from verify.kinds.violation import Violation
from verify.references import Untraced, forward_of, objective_name, takes_activated

_KEYWORD = "forward"
_DRAWS = (
    "random numbers are paired by what is drawn and by their order: a function has to draw, and to "
    "call layers that draw, as the step does"
)
_SEVERAL = "can't be told: the step runs on several replicas: assert on the function of one"


def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    forwards = detector.forwards
    if expected is None:
        if not forwards.is_of_data:
            return []
        told = "what is differentiated depends on what the step is handed"
        return [Violation(_KEYWORD, "no prediction that is judged", told)]
    if not callable(expected):
        raise TypeError(
            f"{_KEYWORD}: {expected!r} is neither a model nor a function of the step's arguments"
        )
    wish = f"a loss of what {objective_name(expected)} computes"
    arguments = detector.step.arguments
    if arguments is None:
        told = "can't be told: the graph does not say what its arguments are"
        return [Violation(_KEYWORD, wish, told)]
    if detector.step.replicas > 1:
        return [Violation(_KEYWORD, wish, _SEVERAL)]
    if not forwards.is_of_data:
        told = (
            "nothing that is trained and what the step is handed decide together is differentiated"
        )
        return [Violation(_KEYWORD, wish, told)]
    try:
        forward = forward_of(expected, arguments)
    except Untraced as why:
        return [Violation(_KEYWORD, wish, f"can't be told: {why}")]
    known = [(loss, one.predicted) for loss, one in known_losses(detector) if one.predicted]
    taken = [predicted for _, predicted in known]
    logits = [one for loss, one in known if takes_activated(loss) or _is_of_logits(loss)]
    hints = (_DRAWS,) if forward.draws else ()
    violations = []
    for label, one in zip(forward.labels, forwards.judged(forward, taken, logits), strict=True):
        of = f" (output {label})" if label else ""
        if one.unknown:
            violations.append(
                Violation(_KEYWORD, wish + of, f"can't be told: {one.unknown}", hints)
            )
        elif one.told:
            violations.append(Violation(_KEYWORD, wish + of, one.told, hints))
    return violations


def _is_of_logits(loss: Any) -> bool:
    return bool(getattr(loss, "from_logits", False))


# -- contracts -------------------------------------------------------------------------------------


def _read(place: str, said: Any, _: Read) -> Any:
    return None if said is False else imported(place, said)


class _Forward(Kind):
    keywords = (Keyword(_KEYWORD, Off | str, _check, rank=2, read=_read),)

    def find(self, detector: Detector) -> dict[str, Any]:
        return {}

    def page(self, facts: Facts) -> list[Row]:
        return []  # what a loss judges is told with it


KIND = _Forward()
