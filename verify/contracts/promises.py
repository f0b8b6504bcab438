"""What is true of a step, for a record: as tight as it can be said, and by globs."""

from __future__ import annotations

from typing import Any

from verify.contracts.baseline import baseline, why_not
from verify.contracts.common import globs
from verify.find import Detector
from verify.graphs import no_collection
from verify.step import Step


def promises_of(step: Step) -> tuple[dict[str, tuple[Any, ...]], dict[str, str]]:
    """What is true of a step, tightest first, by keyword; and what can't be said, and why."""
    found = baseline(step)
    with no_collection():
        detector = Detector(step)
        said = {
            keyword: (
                value,
                *(wide for wide, _ in globs(value) if why_not(detector, keyword, wide) is None),
            )
            for keyword, value in found.said.items()
        }
    return said, found.unsaid
