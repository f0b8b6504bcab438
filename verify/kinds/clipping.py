"""Clipping: how a step clips its gradients."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import pydantic

from verify.errors import ContractError
from verify.find import Bounds, Detector, describe, describe_between
from verify.flow import Update
from verify.graphs import SourceLine
from verify.kinds.contract_spelling import GlobalNorm, Norm, Off, Range
from verify.kinds.facts import ClipFact, Facts
from verify.kinds.kind import Asked, Cluster, Keyword, Kind, Read, Row
from verify.kinds.lines import lines_of_ops, lines_of_writes
from verify.kinds.selection import names
from verify.kinds.unseen import UNSEEN, unseen
from verify.kinds.violation import Violation
from verify.match import ROUNDED

_LISTED_HINTS = 4  # more gradients than that are not listed where all are alike
_LIMITED = "limited, but not by a known clip"
_LISTED_CLIPS = 8  # more clips than that are not listed where all are alike
_BOUNDS = Annotated[list[float | int | Range], pydantic.Field(min_length=2, max_length=2)]


def _facts(detector: Detector) -> Iterator[ClipFact]:
    found: dict[ClipFact, None] = {}
    for update in detector.flow.trained:
        for clip in detector.clips(update):
            path, complete = update.variable.path, clip.complete
            fact = ClipFact(path, clip.kind, clip.lower, clip.upper, complete, clip.misses)
            found[fact] = None
    return iter(found)


# -- what was asserted -----------------------------------------------------------------------------


def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    if expected is None:
        return _no_clipping(detector)
    wanted_bounds = _bounds(expected)
    # Small bounds are not written with all of their digits.
    tolerance = 1e-3 if max(abs(n) for one in wanted_bounds for n in one[1:]) < 1e-3 else 1e-5
    wish = f"every gradient clipped to {describe_between(*wanted_bounds)}"
    if not detector.flow.trained and not detector.flow.unseen:
        return [Violation("clipping", wish, "no gradient reaches an update")]
    good: list[str] = []
    others: dict[str, str] = {}
    for update in detector.flow.trained:
        clips = detector.clips(update)
        rounded = max(tolerance, ROUNDED.get(update.variable.dtype, 0.0))
        wanted = [clip for clip in clips if clip.is_between(*wanted_bounds, rounded)]
        if any(clip.complete for clip in wanted):
            good.append(update.variable.path)
            continue
        notes = [f"clipped to {clip}" for clip in clips if clip not in wanted]
        if wanted:
            notes.append(f"clipped, but {wanted[0].misses}")
        others[update.variable.path] = "; ".join(notes) or _unclipped(detector, update)
    others |= dict.fromkeys(unseen(detector), f"not known: {UNSEEN}")
    if not others:
        return []
    total = len(good) + len(others)
    hints = tuple(f"{path}: {note}" for path, note in sorted(others.items()))
    lines = _lines(detector, others)
    if len(hints) > _LISTED_HINTS and not good and len(set(others.values())) == 1:
        hints = (f"each of them: {hints[0].partition(': ')[2]}",)
    found = f"{len(good)} of {total} gradients clipped so"
    return [Violation("clipping", wish, found, hints, lines)]


def _unclipped(detector: Detector, update: Update) -> str:
    treatment = detector.treatment_of(update)
    return _LIMITED if treatment is not None and treatment.limits else "not clipped"


def _lines(detector: Detector, paths: Iterable[str]) -> tuple[SourceLine, ...]:
    """The lines that clip the gradients of variables, or write them where none does."""
    flow, wanted = detector.flow, set(paths)
    updates = [update for update in flow.trained if update.variable.path in wanted]
    clips = {i for u in updates for clip in detector.clips(u) for i in detector.clip_ops(u, clip)}
    nodes = (detector.flat.nodes[index] for index in sorted(clips))
    return lines_of_ops(detector, nodes) or lines_of_writes(detector, wanted)


def _no_clipping(detector: Detector) -> list[Violation]:
    hints = []
    for update in detector.flow.trained:
        clips, treatment = detector.clips(update), detector.treatment_of(update)
        hints += [f"{update.variable.path}: clipped to {clip}" for clip in clips]
        if not clips and treatment is not None and treatment.limits:
            hints.append(f"{update.variable.path}: {_LIMITED}")
    found = f"{len(hints)} gradients clipped" if hints else ""
    if paths := unseen(detector):
        hints.append(f"not known of {names(paths)}: {UNSEEN}")
        found = found or "updates that are not known"
    clipped = {update.variable.path for update in detector.flow.trained if detector.clips(update)}
    lines = _lines(detector, clipped)
    return [Violation("clipping", "none", found, (*hints,), lines)] if hints else []


def _bounds(expected: Any) -> tuple[Bounds, Bounds]:
    """``(lo, hi)``, ``{"norm": n}`` or ``{"global_norm": n}``, or ranges of these: their ends."""
    if isinstance(expected, Mapping):
        norms = [*expected.items()]
        if len(norms) == 1 and norms[0][0] in ("norm", "global_norm"):
            ((kind, norm),) = norms
            least, most = _ends(norm)
            return (kind, 0.0, least), (kind, 0.0, most)
    elif isinstance(expected, list | tuple) and len(expected) == 2:
        lower, upper = map(_ends, expected)
        return ("value", lower[0], upper[0]), ("value", lower[1], upper[1])
    kind_of_error = ValueError if isinstance(expected, Mapping) else TypeError
    raise kind_of_error(
        f"clipping: {expected!r} is none of (lo, hi), {{'norm': n}}, {{'global_norm': n}} and "
        f"None, which means none{_meant(expected)}"
    )


def _meant(expected: Any) -> str:
    if isinstance(expected, bool) or not isinstance(expected, int | float) or not expected > 0:
        return ""
    return f"; did you mean {{'norm': {expected}}} or (-{expected}, {expected})?"


def _ends(bound: Any) -> tuple[float, float]:
    """A number, or a range: ``(least, most)``."""
    ends = bound if isinstance(bound, list | tuple) else (bound, bound)
    if (
        len(ends) != 2
        or any(isinstance(end, bool) or not isinstance(end, numbers.Real) for end in ends)
        or not ends[0] <= ends[1]
    ):
        raise ValueError(f"clipping: {bound!r} is neither a number nor a range, (least, most)")
    return float(ends[0]), float(ends[1])


# -- contracts -------------------------------------------------------------------------------------


def _read(place: str, said: Any, _: Read) -> Any:
    if said is False:
        return None
    if isinstance(said, list):
        return tuple(_read_bound(place, bound) for bound in said)
    kind, bound = (
        ("norm", said.norm) if isinstance(said, Norm) else ("global_norm", said.global_norm)
    )
    return {kind: _read_bound(place, bound)}


def _read_bound(place: str, bound: Any) -> Any:
    if not isinstance(bound, list):
        return float(bound)
    least, most = bound
    if least > most:
        raise ContractError(f"{place}: a range is [least, most], not {bound}")
    return float(least), float(most)


def _spelt(facts: Facts) -> Any:
    clips = {(clip.kind, clip.lower, clip.upper) for clip in facts.clipping}
    if not clips:
        return False
    (kind, lower, upper), *_ = sorted(clips)  # several, or an incomplete one, do not hold
    lower, upper = (float(f"{bound:.6g}") for bound in (lower, upper))  # they are float32
    return [lower, upper] if kind == "value" else {kind: upper}


# -- rows ------------------------------------------------------------------------------------------


def _listed(facts: Facts) -> list[str]:
    """A line for each clip, or one for all where every trained variable has the same."""
    kinds = {(c.kind, c.lower, c.upper, c.misses) for c in facts.clipping}
    clipped = sorted(c.variable for c in facts.clipping)
    if len(clipped) <= _LISTED_CLIPS or len(kinds) > 1 or clipped != sorted(facts.watched):
        return [_told(clip) for clip in facts.clipping]
    ((kind, lower, upper, misses),) = kinds
    told = f"{describe((kind, lower, upper))} on every watched variable"
    return [f"{told} ({misses})" if misses else told]


def _told(clip: ClipFact) -> str:
    told = describe((clip.kind, clip.lower, clip.upper))
    return f"{told} on {clip.variable}" + (f" ({clip.misses})" if clip.misses else "")


class _Clipping(Kind):
    keywords = (Keyword("clipping", Off | _BOUNDS | Norm | GlobalNorm, _check, rank=4, read=_read),)
    cluster = Cluster("clip", "#faada3", before="optimizer")

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"clipping": tuple(_facts(detector))}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("clipping", _listed(facts), always=True)]

    def snapshot(self, facts: Facts) -> list[Row]:
        clips = (
            f"{describe((c.kind, c.lower, c.upper))} on {c.variable}{' in part' * (not c.complete)}"
            for c in facts.clipping
        )
        return [Row.of("clipping", clips, always=True)]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {"clipping": _spelt(facts)}

    def ops(self, detector: Detector) -> frozenset[int]:
        clips = frozenset[int]().union(
            *(
                detector.clip_ops(update, clip)
                for update in detector.flow.trained
                for clip in detector.clips(update)
            )
        )
        # A norm is of gradients that are whole.
        flow, starts = detector.flow, detector.accumulation.calls.starts.values()
        whole = {index for tensors in starts for index, _ in tensors}
        after = flow.descendants(whole) - flow.ancestors(whole)
        return clips | (flow.ancestors(clips) & after)


KIND = _Clipping()
