"""The contract that several steps keep: what they have in common, and bounds of what differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from verify.contracts.baseline import baseline, text_of, why_not
from verify.contracts.common import candidates, implied, instead
from verify.contracts.records import Record
from verify.contracts.subject import Subject, captured
from verify.errors import ContractError
from verify.find import Detector
from verify.graphs import no_collection

_Keeps = Callable[[str, Any], bool]
"""Whether a step keeps what a keyword says."""


@dataclasses.dataclass(frozen=True)
class Good:
    """A step that is as it should be: here, or as it was under other versions.

    `said`: what is true of it. `unsaid`: what can't be said of it, and why.
    """

    name: str
    said: Mapping[str, Any]
    unsaid: Mapping[str, str]
    keeps: _Keeps


@dataclasses.dataclass(frozen=True)
class Inference:
    """What several steps have in common, as a contract spells it.

    `said`: expectations, each of which has been checked to hold of every step. `wider`: those that
    are looser than what single steps keep, with how. `left`: keywords that are left out, and why.
    Those of a branch are named ``guards.<variable>.<value>.<keyword>``.
    """

    said: Mapping[str, Any]
    wider: Mapping[str, str]
    left: Mapping[str, str]

    @property
    def remarks(self) -> list[str]:
        """What is not as tight as it is in single steps, a line each."""
        wider = [f"{keyword}: {how}" for keyword, how in self.wider.items()]
        return [*wider, *(f"{keyword} is left out: {why}" for keyword, why in self.left.items())]


def good(name: str, subject: Subject) -> Good:
    """What is true of a step as it is made here.

    Raises:
        ContractError: it can't be made or verified.
    """
    step = captured(subject)
    found = baseline(step)
    with no_collection():
        detector = Detector(step)
    return Good(name, found.said, found.unsaid, lambda k, v: why_not(detector, k, v) is None)


def goods_of(made: Record, place: str) -> list[Good]:
    """What was true of the steps of a record.

    Raises:
        ContractError: it does not tell.
    """
    versions = ", ".join(f"{name} {made.versions[name]}" for name in ("tensorflow", "keras"))
    found = []
    for step in made.steps:
        if not step.promises:
            raise ContractError(f"{place}: does not say what {step.target} does: record it again")
        said = {keyword: values[0] for keyword, values in step.promises.items()}
        found.append(Good(f"{step.target} ({versions})", said, step.unsaid, _kept(step.promises)))
    return found


def _kept(promises: Mapping[str, Sequence[Any]]) -> _Keeps:
    def keeps(keyword: str, value: Any) -> bool:
        known = _said_of(promises, keyword)
        if keyword != "guards":
            return any(implied(keyword, one, value) for one in known)
        return all(
            any(implied(inner, said, one) for said in _said_of(within, inner))
            for path, choices in value.items()
            for choice, branch in choices.items()
            for within in [{k: [v] for k, v in known[0].get(path, {}).get(choice, {}).items()}]
            for inner, one in branch.items()
        )

    return keeps


def _said_of(promises: Mapping[str, Sequence[Any]], keyword: str) -> list[Any]:
    """What promises say of a keyword, also within those of others."""
    within = (instead(other, value) for other, values in promises.items() for value in values)
    return [*promises.get(keyword, ()), *(one[keyword] for one in within if keyword in one)]


def infer(goods: Sequence[Good]) -> Inference:
    """The contract that all of these keep."""
    with no_collection():
        wider: dict[str, str] = {}
        left: dict[str, str] = {}
        said = dict(_common(goods, "", lambda keyword, value: {keyword: value}, wider, left))
    for one in goods:
        for keyword, why in one.unsaid.items():
            if keyword not in said:
                left.setdefault(keyword, f"not of {one.name}: {why}")
    return Inference(said, wider, left)


def _common(
    goods: Sequence[Good],
    place: str,
    whole: Callable[[str, Any], Mapping[str, Any]],
    wider: dict[str, str],
    left: dict[str, str],
) -> Iterator[tuple[str, Any]]:
    """What is said of all, keyword by keyword.

    Args:
        goods: with what is said of each at this place.
        place: before the names of keywords.
        whole: what a keyword and its value are for the step as a whole.
    """
    waiting = [*dict.fromkeys(key for one in goods for key in one.said)]
    for keyword in waiting:
        name = f"{place}{keyword}"
        values = {one.name: one.said[keyword] for one in goods if keyword in one.said}
        missing = [one for one in goods if one.name not in values]
        if missing:
            why = missing[0].unsaid.get(keyword, "there is nothing to say of it")
            left[name] = f"not of {missing[0].name}: {why}"
            continue
        if keyword == "guards":
            if guards := _guards(goods, wider, left):
                yield keyword, guards
            continue
        for value, how in candidates(keyword, list(values.values())):
            if all(one.keeps(*pair) for one in goods for pair in whole(keyword, value).items()):
                if how:
                    wider[name] = how
                yield keyword, value
                break
        else:
            left[name] = _difference(values)
            goods, more = _with_parts(goods, keyword, waiting)
            waiting += more  # which the loop comes to


def _with_parts(
    goods: Sequence[Good], keyword: str, known: Sequence[str]
) -> tuple[Sequence[Good], list[str]]:
    """Steps that say by themselves what a promise says as well; and the keywords of that."""
    parts = [instead(keyword, one.said[keyword]) for one in goods]
    more = [key for key in parts[0] if key not in known and all(key in part for part in parts)]
    pairs = zip(goods, parts, strict=True)
    said = [{**one.said, **{key: part[key] for key in more}} for one, part in pairs]
    return [dataclasses.replace(g, said=one) for g, one in zip(goods, said, strict=True)], more


def _guards(
    goods: Sequence[Good], wider: dict[str, str], left: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """What is said of the branches that all of these have."""
    found: dict[str, dict[str, Any]] = {}
    branches = {
        one.name: {
            (path, choice): inner
            for path, choices in one.said["guards"].items()
            for choice, inner in choices.items()
        }
        for one in goods
    }
    for path, choice in dict.fromkeys(key for one in branches.values() for key in one):
        place = f"guards.{path}.{choice}"
        without = [name for name, one in branches.items() if (path, choice) not in one]
        if without:
            left[place] = f"{without[0]} has no such branch"
            continue
        within = [
            dataclasses.replace(
                one,
                said=branches[one.name][path, choice],
                unsaid={
                    key.removeprefix(f"{place}."): why
                    for key, why in one.unsaid.items()
                    if key.startswith(f"{place}.")
                },
            )
            for one in goods
        ]

        def whole(keyword: str, value: Any, path: str = path, choice: str = choice) -> Any:
            return {"guards": {path: {choice: {keyword: value}}}}

        found.setdefault(path, {})[choice] = dict(_common(within, f"{place}.", whole, wider, left))
    return found


def inferred_text(
    subjects: Mapping[str, Subject],
    inference: Inference,
    paths: Mapping[str, str | None],
    of: Sequence[str],
) -> list[str]:
    """A contract for each step, all of which promise the same, as TOML.

    Args:
        paths: by name, how a file is named from where the contracts will be.
        of: names of all steps that it was inferred from.
    """
    remarks = [f"what {', '.join(of)} have in common", *inference.remarks]
    return [
        text_of(name, subject, inference.said, () if index else remarks, paths[name])
        for index, (name, subject) in enumerate(subjects.items())
    ]


def _difference(values: Mapping[str, Any]) -> str:
    names = list(values)
    first = values[names[0]]
    other = next((name for name in names if values[name] != first), names[-1])
    return f"{_short(first)} in {names[0]}, {_short(values[other])} in {other}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
