"""Predictions: what a loss judges is what a model, or a function, computes."""

from __future__ import annotations

from typing import Any

from verify.find import Detector, Judged, known_losses
from verify.kinds.dotted_names import imported
from verify.kinds.facts import Facts, PredictionFact
from verify.kinds.kind import Asked, Keyword, Kind, Read, Row
from verify.kinds.violation import UNTOLD, Violation
from verify.references import Forward, Untraced, forward_of, objective_name

_KEYWORD = "forward"
_DRAWS = (
    "random numbers are paired by what is drawn and by their order: a function has to draw, and to "
    "call layers that draw, as the step does"
)
_SEVERAL = f"{UNTOLD}: the step runs on several replicas: assert on the function of one"


def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    forwards = detector.forwards
    if expected is None or expected is False:
        if not forwards.is_of_data:
            return []
        told = "what is differentiated depends on the arguments of the step"
        return [Violation(_KEYWORD, "no prediction that is judged", told)]
    if expected is True:
        reference = detector.step.reference
        if reference is None:
            told = f"{UNTOLD}, since the model is not known: pass model="
            return [Violation(_KEYWORD, "a loss of what the model computes", told)]
        expected = reference.model
    if not callable(expected):
        raise TypeError(
            f"{_KEYWORD}: {expected!r} is neither a model nor a function of the step's arguments, "
            "nor True, for the model that the step is known to train"
        )
    wish = f"a loss of what {objective_name(expected)} computes"
    if why := _unlooked(detector):
        return [Violation(_KEYWORD, wish, why)]
    if not forwards.is_of_data:
        told = "nothing that depends on trained variables and on arguments is differentiated"
        return [Violation(_KEYWORD, wish, told)]
    try:
        forward, judged = _judged(detector, expected)
    except Untraced as why:
        return [Violation(_KEYWORD, wish, f"{UNTOLD}: {why}")]
    hints = (_DRAWS,) if forward.draws else ()
    violations = []
    for label, one in zip(forward.labels, judged, strict=True):
        of = f" (output {label})" if label else ""
        if one.unknown:
            violations.append(Violation(_KEYWORD, wish + of, f"{UNTOLD}: {one.unknown}", hints))
        elif one.told:
            violations.append(Violation(_KEYWORD, wish + of, one.told, hints))
    return violations


def _unlooked(detector: Detector) -> str:
    """Why no prediction is looked at; empty if one is."""
    if detector.step.arguments is None:
        return f"{UNTOLD}: the graph does not say what its arguments are"
    return _SEVERAL if detector.step.replicas > 1 else ""


def _judged(
    detector: Detector, function: Any, training: bool = True
) -> tuple[Forward, list[Judged]]:
    """What a function computes, and how what losses take compares with each output of it.

    Raises:
        Untraced: it does not take the step's arguments.
    """
    assert detector.step.arguments is not None  # `_unlooked` says so before
    forward = forward_of(function, detector.step.arguments, training)
    taken = [one.predicted for _, one in known_losses(detector) if one.predicted]
    # Logits that a loss takes for probabilities, as they are, are none.
    logits = [
        one.predicted
        for loss, one in known_losses(detector)
        if one.predicted and (one.activated is not None or _is_of_logits(loss))
    ]
    return forward, detector.forwards.judged(forward, taken, logits)


def _prediction(detector: Detector) -> PredictionFact | None:
    """Which model computes what losses judge, and how; None if that is not known."""
    reference = detector.step.reference
    if reference is None or _unlooked(detector) or not detector.forwards.is_of_data:
        return None
    model = reference.model
    for training in (True, False):
        try:
            forward, judged = _judged(detector, model, training)
        except Untraced:
            return None
        if all(one.at and not one.told for one in judged):
            dtypes = dict.fromkeys(forward.flat.dtype(root) for root in forward.roots)
            return PredictionFact(model.name, training, (*dtypes,))
    return None


def _is_of_logits(loss: Any) -> bool:
    return bool(getattr(loss, "from_logits", False))


# -- contracts -------------------------------------------------------------------------------------


def _read(place: str, said: Any, _: Read) -> Any:
    return said if isinstance(said, bool) else imported(place, said)


class _Forward(Kind):
    keywords = (Keyword(_KEYWORD, bool | str, _check, rank=2, read=_read),)

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"prediction": lambda: _prediction(detector)}

    def page(self, facts: Facts) -> list[Row]:
        told = facts.prediction
        return [Row.of("prediction", [] if told is None else [str(told)])]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        told = facts.prediction
        return {"forward": True} if told is not None and told.training else {}


KIND = _Forward()
