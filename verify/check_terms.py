"""Which regularisation terms a step differentiates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from verify.dataflow import Update
from verify.detect import Detector
from verify.failure import Violation, nearest, weight
from verify.flat import VariableRef
from verify.reference import regulariser_name, regulariser_pattern
from verify.search import Disjoint, Found
from verify.selection import select


def terms(detector: Detector, expected: Any) -> list[Violation]:
    if isinstance(expected, list | tuple):
        return _exact_terms(detector, expected)
    present = detector.terms
    labels = [f"{t.label} on {_path(detector, t)}" for t in present]
    labels += [
        f"an unrecognized one on {u.variable.path}" for u in _unknown_terms(detector, present)
    ]
    found = f"{len(labels)}: {'; '.join(labels)}" if labels else "none"
    weighted = [
        violation
        for t in present
        for violation in weight("regularization", f"{t.label} on {_path(detector, t)}", t.weight)
    ]
    if expected is True:
        return weighted if labels else [Violation("regularization", "at least one term", found)]
    if not isinstance(expected, int):
        raise TypeError(f"regularization: {expected!r} is no int, bool or list of pairs")
    if len(labels) != int(expected):
        wanted = f"{int(expected)} term{'s' if int(expected) != 1 else ''}"
        return [Violation("regularization", wanted, found, _forgotten(detector)), *weighted]
    return weighted


def _forgotten(detector: Detector) -> tuple[str, ...]:
    """Regularisers that the model's layers have and that no update shows, if a model is known."""
    reference = detector.step.reference
    if reference is None:
        return ()
    there = {term.variable for term in detector.terms}
    paths = detector.step.paths
    missing = [
        f"{regulariser_name(regulariser)} on {paths[key]}"
        for key, regulariser in reference.regularisers
        if key in paths and key not in there
    ]
    return (f"the layers also have: {'; '.join(missing)}",) if missing else ()


def _unknown_terms(detector: Detector, recognised: list[Found]) -> list[Update]:
    return detector.rest(recognised)[1]


def _exact_terms(detector: Detector, expected: Iterable[tuple[Any, Any]]) -> list[Violation]:
    violations: list[Violation] = []
    recognised = Disjoint()
    for selection, regulariser in expected:
        for variable in select(detector, selection, "regularization"):
            violations += _exact_term(detector, variable, regulariser, recognised)
    mentioned = {
        variable.key
        for selection, _ in expected
        for variable in select(detector, selection, "regularization")
    }
    extra = recognised.fresh(detector.terms)
    # A term on a variable whose expected one is missing has been reported as found there.
    blamed = mentioned - {found.variable for found in recognised.all}
    labels = [f"{t.label} on {_path(detector, t)}" for t in extra if t.variable not in blamed]
    labels += [
        f"an unrecognized one on {u.variable.path}"
        for u in _unknown_terms(detector, [*recognised.all, *extra])
    ]
    if labels:
        violations.append(Violation("regularization", "no other term", "; ".join(labels)))
    return violations


def _exact_term(
    detector: Detector, variable: VariableRef, regulariser: Any, recognised: Disjoint
) -> list[Violation]:
    name = f"{regulariser_name(regulariser)} on {variable.path}"
    updates = detector.flow.trained_of.get(variable.key)
    if not updates:
        text = "that variable is not updated from a gradient"
        return [Violation("regularization", name, text)]
    pattern = regulariser_pattern(regulariser, (variable.shape, variable.dtype))
    if pattern is None:
        raise ValueError(f"regularization: {regulariser!r} has no gradient on {variable.path}")
    found, miss = detector.regulariser(updates[0], pattern)
    fresh = recognised.fresh(found)
    recognised.add(fresh[:1])
    if fresh:
        return weight("regularization", name, fresh[0].weight)
    there = [t.label for t in detector.terms if t.variable == variable.key]
    hints = () if there else nearest(miss)
    return [Violation("regularization", name, ", ".join(there) or "none there", hints)]


def _path(detector: Detector, term: Found) -> str:
    return detector.step.paths.get(term.variable or "", "an unknown variable")
