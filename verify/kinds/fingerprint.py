"""A fingerprint of all that is differentiated: it tells changes that no other fact names."""

from __future__ import annotations

from typing import Any

from verify.find import BY_OPS, Detector
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.violation import Violation

_OTHER = (
    "something else is computed on the way to a gradient: another activation, rate of dropout, "
    "epsilon, layer, loss, weight of a term"
)
_BY_OPS = "told by ops: another version of TensorFlow may write the same otherwise"


def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    if not isinstance(expected, str):
        raise TypeError(f"fingerprint: {expected!r} is no text of digits, as facts tell it")
    found = detector.whole_fingerprint
    if found == expected:
        return []
    by_ops = BY_OPS in (found[: len(BY_OPS)], expected[: len(BY_OPS)])
    hints = (_OTHER, _BY_OPS) if by_ops else (_OTHER,)
    return [Violation("fingerprint", expected, found, hints)]


class _Fingerprint(Kind):
    keywords = (Keyword("fingerprint", str, _check, rank=8),)

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"fingerprint": lambda: detector.whole_fingerprint}

    def page(self, facts: Facts) -> list[Row]:
        return []

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("fingerprint", [facts.fingerprint] if facts.watched else [])]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {"fingerprint": facts.fingerprint} if facts.watched else {}


KIND = _Fingerprint()
