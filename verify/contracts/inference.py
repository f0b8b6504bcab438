"""The contract that several steps keep: what they have in common, and bounds of what differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from verify.contracts.baseline import baseline, text_of, why_not
from verify.contracts.subject import Subject, captured
from verify.find import Detector
from verify.graphs import no_collection

_LIMITS = {"max_ops", "max_bytes"}
# Of each of what these name something is said: it is true of fewer as well.
_OF_EACH = {"unchanged", "forbids"}


@dataclasses.dataclass(frozen=True)
class Inference:
    """What several steps have in common, as a contract spells it.

    `said`: expectations, each of which has been checked to hold of every step. `wider`: those that
    are looser than what single steps keep, with how. `left`: keywords that are left out, and why.
    """

    said: Mapping[str, Any]
    wider: Mapping[str, str]
    left: Mapping[str, str]

    @property
    def remarks(self) -> list[str]:
        """What is not as tight as it is in single steps, a line each."""
        wider = [f"{keyword}: {how}" for keyword, how in self.wider.items()]
        return [*wider, *(f"{keyword} is left out: {why}" for keyword, why in self.left.items())]


def infer(subjects: Mapping[str, Subject]) -> Inference:
    """The contract that all of these keep, by name.

    Raises:
        ContractError: one of them can't be made or verified.
    """
    steps = {name: captured(subject) for name, subject in subjects.items()}
    found = {name: baseline(step) for name, step in steps.items()}
    said: dict[str, Any] = {}
    wider: dict[str, str] = {}
    left: dict[str, str] = {}
    with no_collection():
        detectors = {name: Detector(step) for name, step in steps.items()}
        for keyword in dict.fromkeys(key for one in found.values() for key in one.said):
            values = {name: one.said[keyword] for name, one in found.items() if keyword in one.said}
            missing = [name for name in steps if name not in values]
            if missing:
                why = found[missing[0]].unsaid.get(keyword, "there is nothing to say of it")
                left[keyword] = f"not of {missing[0]}: {why}"
                continue
            for value, how in _candidates(keyword, list(values.values())):
                told = {name: why_not(one, keyword, value) for name, one in detectors.items()}
                if not any(told.values()):
                    said[keyword] = value
                    if how:
                        wider[keyword] = how
                    break
            else:
                left[keyword] = _difference(values)
    for name, one in found.items():
        for keyword, why in one.unsaid.items():
            if keyword not in said:
                left.setdefault(keyword, f"not of {name}: {why}")
    return Inference(said, wider, left)


def inferred_text(
    subjects: Mapping[str, Subject], inference: Inference, paths: Mapping[str, str | None]
) -> list[str]:
    """A contract for each step, all of which promise the same, as TOML.

    Args:
        paths: by name, how a file is named from where the contracts will be.
    """
    every = ", ".join(subjects)
    remarks = [f"what {every} have in common", *inference.remarks]
    return [
        text_of(name, subject, inference.said, () if index else remarks, paths[name])
        for index, (name, subject) in enumerate(subjects.items())
    ]


def _candidates(keyword: str, values: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """What may be said of all, tightest first, and how that is wider than what is said of each."""
    first, *others = values
    if all(value == first for value in others):
        yield first, ""
    elif keyword in _LIMITS:
        yield max(values), f"the largest of {', '.join(map(str, values))}"
    elif keyword in _OF_EACH and all(isinstance(value, list) for value in values):
        common = [one for one in first if all(one in value for value in others)]
        if common:
            dropped = len({one for value in values for one in value}) - len(common)
            yield common, f"what all have, {dropped} besides are left out"
    elif all(isinstance(value, list) and value for value in values):
        if any(not isinstance(one, str) for value in values for one in value):
            return
        tails = [sorted({f"*/{path.rpartition('/')[2]}" for path in value}) for value in values]
        yield ["*"], "by a glob, since names differ"
        if all(one == tails[0] for one in tails):
            yield tails[0], "by the ends of names, since these differ"


def _difference(values: Mapping[str, Any]) -> str:
    names = list(values)
    first = values[names[0]]
    other = next((name for name in names if values[name] != first), names[-1])
    return f"{_short(first)} in {names[0]}, {_short(values[other])} in {other}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
