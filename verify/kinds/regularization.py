"""Regularisation: which terms a step differentiates, one per variable and regulariser."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import keras

from verify.find import Detector, Disjoint, Found, known_losses
from verify.flow import Update
from verify.formulas import formulas
from verify.graphs import VariableRef, key_of, path_of
from verify.kinds.contract_spelling import Term, as_table, literal, object_of, spelt
from verify.kinds.facts import Facts, TermFact, times
from verify.kinds.kind import Asked, Cluster, Keyword, Kind, Read, Row
from verify.kinds.lines import at_losses
from verify.kinds.selection import frozen_among, names, select
from verify.kinds.violation import Violation, doubts, nearest, weight
from verify.references import regulariser_name, regulariser_pattern

_UNNAMED = "one without a name"
ALL = "all"
"""What a known model has, whatever that is."""


def _facts(detector: Detector) -> Iterator[TermFact]:
    names = detector.step.paths
    for term in detector.terms:
        if term.variable is not None:
            yield TermFact(names[term.variable], term.label, term.weight)
    found = [*(found for _, found in known_losses(detector)), *detector.terms]
    for update in detector.rest(found)[1]:
        yield TermFact(update.variable.path, _UNNAMED, None)


# -- what was asserted -----------------------------------------------------------------------------


@at_losses
def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    if isinstance(expected, list | tuple):
        return _exact_terms(detector, [_Wanted.of(one) for one in expected])
    present = detector.terms
    labels = [f"{t.label} on {_path(detector, t)}" for t in present]
    labels += _unnamed(detector, present)
    found = f"{len(labels)}: {'; '.join(labels)}" if labels else "none"
    weighted = [
        violation
        for t in present
        for violation in weight("regularization", f"{t.label} on {_path(detector, t)}", t.weight)
    ]
    if expected is True:
        none = Violation("regularization", "at least one term", found, doubts(detector))
        return weighted if labels else [none]
    if isinstance(expected, str) and expected == ALL:
        return [*_all_terms(detector, found), *weighted]
    if not isinstance(expected, int):
        raise TypeError(
            f"regularization: {expected!r} is not an int, a bool, {ALL!r} or a list of pairs"
        )
    if len(labels) != int(expected):
        wanted = f"{int(expected)} term{'s' if int(expected) != 1 else ''}"
        return [Violation("regularization", wanted, found, _forgotten(detector)), *weighted]
    return weighted


def _all_terms(detector: Detector, found: str) -> list[Violation]:
    """Whether there is what the known model has, and nothing else."""
    reference = detector.step.reference
    if reference is None:
        raise ValueError(
            f"regularization: {ALL!r} means all terms of a model, but the model is not "
            "known: pass model=..."
        )
    has = Counter(term.key for term in reference.terms)
    if doubted := reference.doubts:
        return [Violation("regularization", "all that the model has", found, doubted)]
    there = Counter(term.variable for term in detector.terms if term.variable is not None)
    if has == there and not _unknown_terms(detector, detector.terms):
        return []
    paths = detector.step.paths
    labels = {term.key: term.loss.label for term in reference.terms}
    missing = [f"{labels[key]} on {paths.get(key, 'a variable')}" for key in has - there]
    hints = (f"missing: {'; '.join(missing)}",) if missing else ()
    return [Violation("regularization", "all that the model has, alone", found, hints)]


def _regulariser(said: Any) -> Any:
    """A regulariser, perhaps by its name in Keras."""
    if not isinstance(said, str):
        return said
    try:
        return keras.regularizers.get(said)
    except ValueError:
        raise ValueError(f"regularization: Keras has no regularizer {said!r}") from None


def _forgotten(detector: Detector) -> tuple[str, ...]:
    """Regularisers that the model's layers have and that no update shows, if a model is known."""
    reference = detector.step.reference
    if reference is None:
        return ()
    doubted = doubts(detector)
    there = {term.variable for term in detector.terms}
    paths = detector.step.paths
    missing = [
        f"{regulariser_name(regulariser)} on {paths[key]}"
        for key, regulariser in reference.regularisers
        if key in paths and key not in there
    ]
    return (f"the layers also have: {'; '.join(missing)}", *doubted) if missing else doubted


def _unnamed(detector: Detector, recognised: list[Found]) -> list[str]:
    """Terms of no regulariser that is known, each with the objective that it is a part of."""
    paths = [update.variable.path for update in _unknown_terms(detector, recognised)]
    every = formulas(detector) if paths else []
    told = ((path, [one.formula for one in every if path in one.variables]) for path in paths)
    return [f"{_UNNAMED} on {path}, in {' and '.join(found)}" for path, found in told]


def _unknown_terms(detector: Detector, recognised: list[Found]) -> list[Update]:
    return detector.rest(recognised)[1]


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """An expected term: of which variables, and multiplied by which number or variable."""

    selection: Any
    regulariser: Any
    factor: Any = 1.0

    @classmethod
    def of(cls, said: Any) -> _Wanted:
        if not isinstance(said, tuple) or len(said) not in (2, 3):
            raise TypeError(f"regularization: {said!r} is no (variable, regulariser[, weight])")
        selection, regulariser, *factor = said
        return cls(selection, _regulariser(regulariser), *factor)


def _exact_terms(detector: Detector, expected: list[_Wanted]) -> list[Violation]:
    violations: list[Violation] = []
    recognised = Disjoint()
    mentioned = set[int | str]()
    for wanted in expected:
        for variable in select(detector, wanted.selection, "regularization"):
            violations += _exact_term(detector, variable, wanted, recognised)
            mentioned.add(variable.key)
    extra = recognised.fresh(detector.terms)
    # A term on a variable whose expected one is missing has been reported as found there.
    blamed = mentioned - {found.variable for found in recognised.all}
    labels = [f"{t.label} on {_path(detector, t)}" for t in extra if t.variable not in blamed]
    labels += _unnamed(detector, [*recognised.all, *extra])
    if labels:
        violations.append(
            Violation("regularization", "no other term", "; ".join(labels), doubts(detector))
        )
    return violations


def _exact_term(
    detector: Detector, variable: VariableRef, wanted: _Wanted, recognised: Disjoint
) -> list[Violation]:
    regulariser = wanted.regulariser
    name = f"{regulariser_name(regulariser)} on {variable.path}"
    updates = detector.flow.trained_of.get(variable.key)
    if not updates:
        text = "that variable is not updated from a gradient"
        hints = (*frozen_among(detector, [variable.path]),)
        return [Violation("regularization", name, text, hints)]
    pattern = regulariser_pattern(regulariser, (variable.shape, variable.dtype))
    if pattern is None:
        raise ValueError(f"regularization: {regulariser!r} has no gradient on {variable.path}")
    found, miss = detector.regulariser(updates[0], pattern)
    fresh = recognised.fresh(found)
    recognised.add(fresh[:1])
    there = [t.label for t in detector.terms if t.variable == variable.key]
    if fresh:
        if not isinstance(wanted.factor, int | float):
            by = [v for v in _deciding(detector, fresh[0]) if v.key == key_of(wanted.factor)]
            if by and detector.is_term_weighed_by(updates[0], pattern, fresh[0], by[0]):
                return []
        wrong = _weight(detector, name, fresh[0], wanted.factor)
        others = [label for label in there if label != regulariser_name(regulariser)]
        told = Violation("regularization", name, ", ".join(others))
        return [told] if wrong and others else wrong
    hints = () if there else nearest(miss)
    return [Violation("regularization", name, ", ".join(there) or "none there", hints)]


def _deciding(detector: Detector, found: Found) -> frozenset[VariableRef]:
    """The variables that decide what a term is multiplied by."""
    if found.weight is not None:
        return frozenset()
    return detector.search.scaling.factors(found.upstream)


def _weight(detector: Detector, name: str, found: Found, factor: Any) -> list[Violation]:
    """What is wrong with what a term is multiplied by."""
    by = _deciding(detector, found)
    decided = f"a weight that {names(v.path for v in by)} decides" if by else ""
    if not isinstance(factor, int | float):
        known = "no weight" if found.weight is None else f"weight {found.weight:.6g}"
        name = f"{name} with weight {path_of(factor)}"
        return [Violation("regularization", name, decided or known)]
    if decided:
        return [Violation("regularization", name, decided)]
    return weight("regularization", name, found.weight, factor)


def _path(detector: Detector, term: Found) -> str:
    return detector.step.paths.get(term.variable or "", "an unknown variable")


# -- contracts -------------------------------------------------------------------------------------


def _read(place: str, said: Any, _: Read) -> Any:
    if not isinstance(said, list):
        return said
    return [
        (glob, object_of(place, keras.regularizers, term.is_, term.model_extra or {}))
        for term in said
        for glob in ([term.on] if isinstance(term.on, str) else term.on)
    ]


class _Regularization(Kind):
    keywords = (
        Keyword(
            "regularization", bool | int | Literal["all"] | list[Term], _check, rank=3, read=_read
        ),
    )
    cluster = Cluster("regularization", "#dbb2f8", before="backward")

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"regularization": tuple(_facts(detector))}

    def page(self, facts: Facts) -> list[Row]:
        terms = (f"{t.kind} on {t.variable}{times(t.weight)}" for t in facts.regularization)
        return [Row.of("regularization", terms, always=True)]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        terms = [
            {"on": literal(term.variable)} | as_table(spelt(term.kind, None, ""))
            for term in facts.regularization
        ]
        # What has no name, or a weight that a variable decides, can only be counted.
        named = all(term.weight is not None for term in facts.regularization)
        return {"regularization": (terms or 0) if named else len(terms)}


KIND = _Regularization()
