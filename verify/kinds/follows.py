"""Averages: which variables follow others, at which rate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from verify.find import Detector, Follow
from verify.graphs import VariableRef
from verify.kinds.contract_spelling import Followed, Off, literal
from verify.kinds.facts import Facts, FollowFact
from verify.kinds.kind import Asked, Cluster, Keyword, Kind, Read, Row
from verify.kinds.lines import lines_of_writes
from verify.kinds.selection import absent, known, names, select
from verify.kinds.violation import Violation
from verify.step import choosers

_OF_THE_STEP = "a rate of the step"
_MANY = 6  # more of one rate are told together


def _facts(detector: Detector) -> Iterator[FollowFact]:
    found: dict[FollowFact, None] = {}
    for key, follows in detector.followers.all.items():
        for one in follows:
            trained = _is_trained(detector, key)
            fact = FollowFact(
                one.target.path,
                one.source.path,
                one.rate,
                one.when,
                _chosen(detector, one),
                trained,
                one.first,
            )
            found[fact] = None
    return iter(sorted(found, key=lambda fact: (fact.variable, fact.source)))


def _is_trained(detector: Detector, key: int | str) -> bool:
    """Whether a variable is updated from its gradient by another write than those of an average."""
    averages = [one.node for one in detector.followers.all.get(key, ())]
    return any(u.node not in averages for u in detector.flow.trained_of.get(key, ()))


def _chosen(detector: Detector, follow: Follow) -> str:
    """What chooses the branches that a write is in."""
    flat, folder = detector.flat, detector.flow.folder
    by = [
        ", ".join(v.path for v in choosers(flat, guard)) or "data"
        for guard, _ in flat.choices(follow.node.path)
        if folder.value(guard.predicate) is None
    ]
    return " and ".join(dict.fromkeys(by))


def _told(fact: FollowFact) -> str:
    told = [f"{fact.when} its update"] if fact.when else []
    if fact.first is not None:
        told.append(f"at {fact.first:.6g} in the first step")
    if fact.chosen_by:
        told.append(f"in a branch chosen by {fact.chosen_by}")
    if fact.trained:
        told.append("trained as well")
    return f" at {_rate(fact.rate)}" + (f" ({'; '.join(told)})" if told else "")


def _rate(rate: float | None) -> str:
    return _OF_THE_STEP if rate is None else f"{rate:.6g}"


def _together(facts: Facts) -> Iterator[str]:
    groups: dict[str, list[FollowFact]] = {}
    for fact in facts.follows:
        groups.setdefault(_told(fact), []).append(fact)
    for told, group in groups.items():
        targets, sources = ([f.variable for f in group], [f.source for f in group])
        models = _models(targets), _models(sources)
        if len(group) > 1 and all(models):
            yield f"{len(group)} variables of {models[0]} follow those of {models[1]}{told}"
        elif len(group) > _MANY:
            yield f"{names(targets)} follow {names(sources)}{told}"
        else:
            yield from (f"{fact.variable} follows {fact.source}{told}" for fact in group)


def _models(paths: list[str]) -> str:
    """The model that all of some variables are of; empty if there is no such."""
    heads = {path.partition("/")[0] for path in paths if "/" in path}
    return heads.pop() if len(heads) == 1 and all("/" in path for path in paths) else ""


def _others(facts: Facts) -> list[str]:
    """Averages of weights that follow no single variable."""
    following = {fact.variable for fact in facts.follows}
    return [path for path in facts.written.averages if path not in following]


# -- what was asserted -----------------------------------------------------------------------------


def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    if expected is None:
        every = [one for follows in detector.followers.all.values() for one in follows]
        mixtures = [f"{path} is an average of other variables" for path in detector.mixtures]
        return _none_of(detector, every, "no variable that follows another", mixtures)
    listed = [*expected.items()] if isinstance(expected, Mapping) else expected
    if not isinstance(listed, list) or any(
        not isinstance(one, tuple) or len(one) != 2 for one in listed
    ):
        raise TypeError(
            f"follows: {expected!r} is neither a dict {{selection: (selection, rate)}} nor a list "
            "of pairs (selection, (selection, rate))"
        )
    violations: list[Violation] = []
    for selection, said in listed:
        if said is None:
            targets = _selected(detector, selection)
            every = [one for v in targets for one in detector.followers.all.get(v.key, ())]
            wanted = f"nothing that {names(v.path for v in targets)} follow"
            violations += _none_of(detector, every, wanted)
            continue
        chosen, rate = _pair(said)
        if unmatched := absent(detector, selection):
            wanted = f"{names(unmatched)} to follow another variable"
            told = "neither the step nor its model has such a variable"
            trainable = names(v.path for v in known(detector) if detector.flow.is_trainable(v))
            hints = (f"trainable variables it uses: {trainable}",)
            violations.append(Violation("follows", wanted, told, hints))
            continue
        targets, sources = _selected(detector, selection), _selected(detector, chosen)
        violations += _as_asked(detector, _pairs(targets, sources), rate)
    return violations


def _none_of(
    detector: Detector, follows: Sequence[Follow], wanted: str, mixtures: Sequence[str] = ()
) -> list[Violation]:
    hints = [*(f"{one.target.path} {_found(one)}" for one in follows), *mixtures]
    paths = {one.partition(" ")[0] for one in hints}
    found, lines = names(paths), lines_of_writes(detector, paths)
    return [Violation("follows", wanted, found, (*dict.fromkeys(hints),), lines)] if hints else []


def _pair(said: Any) -> tuple[Any, float | None]:
    wrong = f"follows: {said!r} is neither a pair (selection, rate) nor None"
    if not isinstance(said, list | tuple) or len(said) != 2:
        raise TypeError(wrong)
    selection, rate = said
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float)):
        raise TypeError(f"{wrong}: {rate!r} is not a number")
    return selection, rate


def _selected(detector: Detector, selection: Any) -> list[VariableRef]:
    """The variables meant, in the order given; those of one glob by their paths."""
    entries = selection if isinstance(selection, list | tuple) else [selection]
    real = sorted((v for v in known(detector) if "float" in v.dtype), key=_natural)
    return select(detector, [*entries], "follows", trainable=False, first=real)


def _natural(variable: VariableRef) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", variable.path)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _pairs(
    targets: list[VariableRef], sources: list[VariableRef]
) -> list[tuple[VariableRef, VariableRef]]:
    if len(targets) != len(sources):
        raise ValueError(
            f"follows: {len(targets)} variables ({names(v.path for v in targets)}) can't follow "
            f"{len(sources)} ({names(v.path for v in sources)}): they are paired in order"
        )
    for target, source in zip(targets, sources, strict=True):
        if target.shape != source.shape:
            raise ValueError(
                f"follows: {target.path} of shape {target.shape} can't follow {source.path} of "
                f"shape {source.shape}: they are paired in order"
            )
    return list(zip(targets, sources, strict=True))


def _as_asked(
    detector: Detector, pairs: list[tuple[VariableRef, VariableRef]], rate: float | None
) -> list[Violation]:
    wrong = {
        target.path: told
        for target, source in pairs
        if (told := _wrong(detector, target, source, rate))
    }
    if not wrong:
        return []
    hints = tuple(f"{path} {told}" for path, told in wrong.items())
    at = "any rate" if rate is None else f"{rate:.6g}"
    targets, sources = (names(v.path for v in one) for one in zip(*pairs, strict=True))
    wish = f"{targets} to follow {sources} at {at}"
    found = f"{len(pairs) - len(hints)} of {len(pairs)} do"
    return [Violation("follows", wish, found, hints, lines_of_writes(detector, wrong))]


def _wrong(detector: Detector, target: VariableRef, source: VariableRef, rate: float | None) -> str:
    """What is there instead of a target that follows a source; empty if it does."""
    followers = detector.followers
    follows, mixed = followers.all.get(target.key, []), followers.mixed.get(target.key, [])
    right = [one for one in follows if one.source.key == source.key and _is_at(one, rate)]
    wanted = "any rate" if rate is None else f"{rate:.6g}"
    for one in right:
        if _is_trained(detector, target.key):
            return "is trained from its gradient as well"
        if beside := [node.id for node in followers.beside(one)]:
            return f"{_found(one)}, and is written by {', '.join(beside)} as well"
    if right:
        return ""
    for one in follows:
        told = _found(one)
        if one.source.key != source.key:
            return f"{told}, expected {source.path}"
        return f"{told}, expected {wanted}"
    if any(one.source.key == target.key for one in followers.all.get(source.key, ())):
        return f"is followed by {source.path}: they are exchanged"
    if mixed:
        return "; ".join(map(_found, mixed))
    writes = detector.writes.by_key.get(target.key, ())
    if not writes:
        return "is not written"
    told = ", ".join(f"{node.id} ({detector.told_of(node, one)})" for node, one in writes)
    return f"is written by {told}, which is not a known average of another variable"


def _is_at(follow: Follow, rate: float | None) -> bool:
    if rate is None:
        return True
    # Factors are float32: that of 0.9999 leaves four digits of the rate.
    return follow.rate is not None and bool(np.isclose(follow.rate, rate, rtol=1e-4, atol=2e-7))


def _found(follow: Follow) -> str:
    if follow.sums:
        return f"follows {follow.source.path} at {_rate(follow.rate)}"
    return (
        f"becomes {follow.keeps:.6g} times itself and {follow.takes:.6g} times "
        f"{follow.source.path}, which do not add up to 1"
    )


# -- contracts -------------------------------------------------------------------------------------


def _read(place: str, said: Any, _: Read) -> Any:
    if said is False:
        return None
    return {key: None if one is False else (one.source, one.rate) for key, one in said.items()}


def _spelt(facts: Facts) -> dict[str, Any]:
    found = {}
    for fact in facts.follows:
        if not fact.trained:
            rate = {} if fact.rate is None else {"rate": float(f"{fact.rate:.6g}")}
            found[literal(fact.variable)] = {"source": literal(fact.source), **rate}
    return {"follows": found} if found else {}


class _Follows(Kind):
    keywords = (
        Keyword(
            "follows", Off | dict[str, Off | Followed], _check, rank=5, read=_read, by_entry=True
        ),
    )
    cluster = Cluster("averages", "#9dc9db", before="metrics and state")

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"follows": tuple(_facts(detector))}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("averages", [*_together(facts), *_others(facts)])]

    def snapshot(self, facts: Facts) -> list[Row]:
        told = (f"{fact.variable} follows {fact.source}{_told(fact)}" for fact in facts.follows)
        return [Row.of("average", [*told, *_others(facts)])]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return _spelt(facts)

    def ops(self, detector: Detector) -> frozenset[int]:
        follows = (f for made in detector.followers.all.values() for f in made)
        trained = {update.node.index for update in detector.flow.trained}
        return frozenset(follow.node.index for follow in follows) - trained


KIND = _Follows()
