"""What a step writes besides what it trains: optimizer state, metrics, counters."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.kinds.facts import Facts
from verify.kinds.kind import Kind, Row


def _slots(facts: Facts) -> tuple[str, ...]:
    """What optimizers keep: which slots, as Keras names them, for how many trained variables."""
    trained = {path.replace("/", "_"): path for path in facts.watched}
    by_variable: dict[tuple[str, str], list[str]] = {}
    told = []
    for slot in facts.written.slots:
        owner, _, name = slot.partition("/")
        of = max((one for one in trained if name.startswith(f"{one}_")), key=len, default=None)
        if of is None:
            told.append(slot)
        else:
            by_variable.setdefault((owner, trained[of]), []).append(name[len(of) + 1 :])
    alike: dict[tuple[str, str], list[str]] = {}
    for (owner, path), names in by_variable.items():
        alike.setdefault((owner, ", ".join(sorted(names))), []).append(path)
    for (owner, kept), paths in alike.items():
        each = paths[0] if len(paths) == 1 else f"each of {len(paths)} variables"
        told.append(f"{owner}: {kept} of {each}")
    return tuple(told)


class _OtherWrites(Kind):
    def find(self, detector: Detector) -> dict[str, Any]:
        return {}  # they are fields of `Facts.written`, which the kind of trained variables fills

    def page(self, facts: Facts) -> list[Row]:
        written = facts.written
        return [
            Row("optimizer state", written.slots, joined=True, short=_slots(facts)),
            Row.listed("accumulators", written.accumulators),
            Row.listed("metrics and state", written.metrics),
            Row.listed("counters", written.counters),
        ]

    def snapshot(self, facts: Facts) -> list[Row]:
        written = facts.written
        return [
            Row.of("optimizer state", written.slots),
            Row.of("accumulator", written.accumulators),
            Row.of("metric or state", written.metrics),
            Row.of("counter", written.counters),
        ]


KIND = _OtherWrites()
