"""Which violations of a config show another thing, and not merely that nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verify.assertions.config_treatments import UNPAIRED
from verify.assertions.config_updates import UnsaidError, clips_of
from verify.find import Detector
from verify.kinds import UNTOLD, Violation

_ABOUT = dict.fromkeys(("objective", "optimizer"), "what enters the optimizer")
_OWN_WAYS = ("accumulate", "ascend", "objective", "per_example")


def told(
    violations: list[Violation], detector: Detector, settings: Mapping[str, Any], left: list[str]
) -> list[Violation]:
    """The violations that show another thing than what is expected.

    Args:
        left: what the others are about is added to these.
    """
    found = []
    for one in violations:
        unknown = one.found.startswith(UNTOLD) and UNPAIRED not in one.found
        if unknown:
            why = one.found.removeprefix(f"{UNTOLD}: ").removeprefix(f"{UnsaidError.__name__}: ")
            left.append(f"{_ABOUT.get(one.keyword, one.keyword)}: {why}")
        elif one.keyword == "clipping" and _has_unknown(detector, settings):
            left.append("clipping: what becomes of gradients on their way is not known")
        elif one.keyword == "clipping" and _is_clipped_otherwise(detector, settings):
            left.append("clipping: the optimizer clips as well, in another way, which may hide it")
        else:
            found.append(one)
    return found


def _is_clipped_otherwise(detector: Detector, settings: Mapping[str, Any]) -> bool:
    """Whether an optimizer clips what the branch has clipped, in another way.

    Of a norm that is small, a common norm before it may not be seen.
    """
    if settings.get("clipping") is None or detector.step.reference is None:
        return False
    try:
        clips = clips_of(detector.step.reference.model, settings)
    except UnsaidError:
        return True
    kinds = {(*clip,) if isinstance(clip, Mapping) else () for clip in clips}
    return len(kinds) > 1


def _has_unknown(detector: Detector, settings: Mapping[str, Any]) -> bool:
    """Whether a gradient goes a way of its own, of which it is not known what it passes."""
    if not any(key in settings for key in _OWN_WAYS):
        return False
    return bool(detector.flow.scales) or any(
        detector.treatment_of(update) is None and not detector.clips(update)
        for update in detector.flow.trained
    )
