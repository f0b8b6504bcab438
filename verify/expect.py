"""Expectations about a step, and messages a person can act on when one is broken."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from verify.capture import Region, Step, capture
from verify.clips import Bounds, describe
from verify.dataflow import Update
from verify.detect import Detector, Found
from verify.facts import known_losses
from verify.failure import Violation, fail
from verify.graph import VariableRef
from verify.match import Miss
from verify.reference import loss_name, regulariser_name, regulariser_pattern


class _Unset:
    """The value of a keyword that was left out: not checked."""

    def __repr__(self) -> str:
        return "unchecked"


UNSET: Any = _Unset()
_SHOWN = 6  # longer lists of variables are abridged; differences never are
_TELLING = 4  # a nearest miss that agrees in fewer ops tells nothing


@dataclasses.dataclass(frozen=True)
class Expectation:
    """What a step should be. Fields left at `UNSET` are not checked; see `assert_graph`."""

    loss: Any = UNSET
    regularization: Any = UNSET
    clipping: Any = UNSET
    watched: Any = UNSET
    unwatched: Any = UNSET

    def violations(self, step: Step, region: Region = ()) -> list[Violation]:
        """Every way in which the step (or the branch at `region`) is not as expected."""
        checker = _Checker(step, region)
        found: list[Violation] = []
        if self.watched is not UNSET:
            found += checker.watched(self.watched)
        if self.unwatched is not UNSET:
            # What is trained against the expectation has been told as "too many" already.
            by_gradient = self.watched is UNSET
            found += checker.unwatched(self.unwatched, by_gradient)
        if self.loss is not UNSET:
            found += checker.loss(self.loss)
        if self.regularization is not UNSET:
            found += checker.regularization(self.regularization)
        if self.clipping is not UNSET:
            found += checker.clipping(self.clipping)
        return found


def assert_graph(
    target: Any,
    *args: Any,
    loss: Any = UNSET,
    regularization: Any = UNSET,
    clipping: Any = UNSET,
    watched: Any = UNSET,
    unwatched: Any = UNSET,
    model: keras.Model | None = None,
) -> None:
    """Asserts what a training step does, from its traced graph. Keywords left out are unchecked.

    Args:
        target: a ``tf.function``, a ``ConcreteFunction`` or a compiled ``keras.Model``.
        args: a batch to trace with, ``(x, y)`` or ``(x, y, sample_weight)``, as one tuple or one
            by one: tensors, arrays or ``tf.TensorSpec``; none for a ``ConcreteFunction``.
        loss: a ``keras.losses.Loss``, a function ``(y_true, y_pred)``, a registered name or a list
            of these: exactly these data losses have a gradient that reaches an update, with their
            constants, reduction and weight 1. ``None``: no data loss does.
        regularization: an int: so many terms reach an update, one per variable and regulariser;
            ``True``: at least one; ``False``: none; a list of ``(variable, regulariser)``:
            exactly these.
        clipping: ``(lo, hi)``, ``{"norm": n}`` or ``{"global_norm": n}``: every gradient that
            reaches an update is clipped so, before the optimizer; ``None``: none is.
        watched: variables, paths or globs over ``variable.path``: exactly these trainable
            variables are updated from their gradients.
        unwatched: the same: none of these is written.
        model: the model that the step trains, if `target` does not tell: what counts as trainable,
            and the regularisers that its layers add, are then taken from it.

    Raises:
        GraphAssertionError: with all violations.
        TypeError, ValueError: an argument is not of the kinds above, or a glob matches nothing.
    """
    step = capture(target, *args, model=model)
    expectation = Expectation(loss, regularization, clipping, watched, unwatched)
    fail(step.name, expectation.violations(step))


class _Checker:
    """Checks one step (or branch) keyword by keyword."""

    def __init__(self, step: Step, region: Region) -> None:
        self.step = step
        self.detector = Detector(step, region)
        self.flow = self.detector.flow

    # -- variables ----------------------------------------------------------------------------

    def watched(self, selection: Any) -> list[Violation]:
        expected = {v.path for v in self._select(selection, "watched")}
        found = {update.variable.path for update in self.flow.trained}
        if expected == found:
            return []
        hints = []
        if extra := sorted(found - expected):
            hints.append(f"too many: {', '.join(extra)}")
        if missing := sorted(expected - found):
            hints.append(f"missing:  {', '.join(missing)}")
            hints.extend(self._why_not_trained(missing))
        return [Violation("watched", _names(expected), _names(found), (*hints,))]

    def unwatched(self, selection: Any, by_gradient: bool) -> list[Violation]:
        wanted = {v.path for v in self._select(selection, "unwatched")}
        written = {
            u.variable.path: u
            for u in self.flow.updates
            if u.variable.path in wanted and (by_gradient or u.node.index not in self.flow.backward)
        }
        if not written:
            return []
        hints = tuple(
            f"{path} is written by {update.node.id}"
            + ("" if update.node.index in self.flow.backward else " (by hand, not by a gradient)")
            for path, update in sorted(written.items())
        )
        return [Violation("unwatched", f"no update of {_names(wanted)}", _names(written), hints)]

    def _why_not_trained(self, missing: Iterable[str]) -> list[str]:
        by_hand = {
            u.variable.path: u for u in self.flow.updates if u.node.index not in self.flow.backward
        }
        return [
            f"{path} is written by {by_hand[path].node.id}, but not from a gradient"
            for path in missing
            if path in by_hand
        ]

    def _select(self, selection: Any, keyword: str) -> list[VariableRef]:
        """The variables meant by one variable, path or glob, or by a list of them."""
        entries = selection if isinstance(selection, list | tuple | set) else [selection]
        chosen: dict[VariableRef, None] = {}
        for entry in entries:
            for variable in self._resolve(entry, keyword):
                chosen[variable] = None
        return list(chosen)

    def _resolve(self, entry: Any, keyword: str) -> list[VariableRef]:
        known = [v for v in self.step.variables if self.flow.is_trainable(v)]
        if isinstance(entry, str):
            found = [v for v in known if v.path == entry or fnmatch.fnmatchcase(v.path, entry)]
            if not found:
                paths = ", ".join(v.path for v in known) or "none"
                raise ValueError(
                    f"{keyword}: {entry!r} matches no trainable variable of the step. "
                    f"Trainable variables it uses: {paths}"
                )
            return found
        variable = getattr(entry, "value", entry)
        handle = getattr(variable, "handle", None)
        if handle is None:
            raise TypeError(f"{keyword}: {entry!r} is no variable, path or glob")
        found = [v for v in self.step.variables if v.key == id(handle)]
        # A variable that the graph never touches is still a fair expectation, never fulfilled.
        path = getattr(entry, "path", variable.name)
        shape, dtype = tuple(variable.shape), variable.dtype.name
        return found or [VariableRef(id(handle), path, shape, dtype, bool(variable.trainable))]

    # -- losses -------------------------------------------------------------------------------

    def loss(self, expected: Any) -> list[Violation]:
        losses = [] if expected is None else expected
        losses = list(losses) if isinstance(losses, list | tuple) else [losses]
        violations: list[Violation] = []
        recognised: list[Found] = []
        missing: list[tuple[Any, Miss | None]] = []
        for loss in losses:
            found, miss = self.detector.losses(loss)
            fresh = [f for f in found if not any(f.nodes & r.nodes for r in recognised)]
            # A list may name one loss several times: each stands for one place where it acts.
            fresh.sort(key=lambda f: f.weight is not None and not np.isclose(f.weight, 1))
            recognised += fresh[:1]
            if not fresh:
                missing.append((loss, miss))
            violations += [v for f in fresh[:1] for v in _weight("loss", loss_name(loss), f.weight)]
        rest = self.detector.rest([*recognised, *self.detector.terms])[0]
        others = self._other_losses(recognised) if rest else []
        trained = _names({update.variable.path for update in rest})
        instead = " and ".join(others) or "another data loss, none that Keras ships by default,"
        for loss, miss in missing:
            text = "no gradient of it reaches an update"
            if rest:
                text = f"{instead} reaches the update of {trained}"
            violations.append(Violation("loss", loss_name(loss), text, _nearest(miss)))
        if rest and not missing:
            wanted = " and ".join(map(loss_name, losses)) + " only" if losses else "no data loss"
            violations.append(
                Violation("loss", wanted, f"{instead} reaches the update of {trained}")
            )
        return violations

    def _other_losses(self, recognised: list[Found]) -> list[str]:
        """What the remaining data gradients are the gradients of, where Keras knows the loss."""
        return [
            f"{name} of {found.prediction}"
            for name, found in known_losses(self.detector)
            if not any(found.nodes & other.nodes for other in recognised)
        ]

    # -- regularisation -----------------------------------------------------------------------

    def regularization(self, expected: Any) -> list[Violation]:
        if isinstance(expected, list | tuple):
            return self._exact_terms(expected)
        terms = self.detector.terms
        labels = [f"{t.label} on {self._path(t)}" for t in terms]
        labels += [f"an unrecognised one on {u.variable.path}" for u in self._unknown_terms(terms)]
        found = f"{len(labels)}: {'; '.join(labels)}" if labels else "none"
        weighted = [
            violation
            for t in terms
            for violation in _weight("regularization", f"{t.label} on {self._path(t)}", t.weight)
        ]
        if expected is True:
            return weighted if labels else [Violation("regularization", "at least one term", found)]
        if not isinstance(expected, int):
            raise TypeError(f"regularization: {expected!r} is no int, bool or list of pairs")
        if len(labels) != int(expected):
            wanted = f"{int(expected)} term{'s' if int(expected) != 1 else ''}"
            return [Violation("regularization", wanted, found), *weighted]
        return weighted

    def _unknown_terms(self, recognised: list[Found]) -> list[Update]:
        return self.detector.rest(recognised)[1]

    def _exact_terms(self, expected: Iterable[tuple[Any, Any]]) -> list[Violation]:
        violations: list[Violation] = []
        recognised: list[Found] = []
        for selection, regulariser in expected:
            for variable in self._select(selection, "regularization"):
                violations += self._exact_term(variable, regulariser, recognised)
        mentioned = {
            variable.key
            for selection, _ in expected
            for variable in self._select(selection, "regularization")
        }
        cut = frozenset(node for found in recognised for node in found.nodes)
        extra = [t for t in self.detector.terms if not t.nodes & cut]
        # A term on a variable whose expected one is missing has been reported as found there.
        blamed = mentioned - {found.variable for found in recognised}
        labels = [f"{t.label} on {self._path(t)}" for t in extra if t.variable not in blamed]
        labels += [
            f"an unrecognised one on {u.variable.path}"
            for u in self._unknown_terms([*recognised, *extra])
        ]
        if labels:
            violations.append(Violation("regularization", "no other term", "; ".join(labels)))
        return violations

    def _exact_term(
        self, variable: VariableRef, regulariser: Any, recognised: list[Found]
    ) -> list[Violation]:
        name = f"{regulariser_name(regulariser)} on {variable.path}"
        updates = [u for u in self.flow.trained if u.variable.key == variable.key]
        if not updates:
            text = "that variable is not updated from a gradient"
            return [Violation("regularization", name, text)]
        pattern = regulariser_pattern(regulariser, (variable.shape, variable.dtype))
        if pattern is None:
            raise ValueError(f"regularization: {regulariser!r} has no gradient on {variable.path}")
        found, miss = self.detector.regulariser(updates[0], pattern)
        fresh = [f for f in found if not any(f.nodes & r.nodes for r in recognised)]
        recognised += fresh[:1]
        if fresh:
            return _weight("regularization", name, fresh[0].weight)
        there = [t.label for t in self.detector.terms if t.variable == variable.key]
        hints = () if there else _nearest(miss)
        return [Violation("regularization", name, ", ".join(there) or "none there", hints)]

    def _path(self, term: Found) -> str:
        return next(
            (v.path for v in self.step.variables if v.key == term.variable), "an unknown variable"
        )

    # -- clipping -----------------------------------------------------------------------------

    def clipping(self, expected: Any) -> list[Violation]:
        if expected is None:
            return self._no_clipping()
        kind, lower, upper = wanted_bounds = _bounds(expected)
        good: list[str] = []
        others: dict[str, list[str]] = {}
        for update in self.flow.trained:
            clips = self.detector.clips(update)
            wanted = [
                c
                for c in clips
                if c.kind == kind and _close(c.lower, lower) and _close(c.upper, upper)
            ]
            if any(clip.complete for clip in wanted):
                good.append(update.variable.path)
                continue
            notes = [f"clipped to {clip}" for clip in clips if clip not in wanted]
            if wanted:
                notes.append(
                    f"clipped, but {wanted[0].misses}"
                    if wanted[0].misses
                    else "clipped, but part of its gradient goes around the clip or is changed "
                    "after it"
                )
            others[update.variable.path] = notes or ["not clipped"]
        if not others:
            return []
        total = len(good) + len(others)
        hints = tuple(f"{path}: {'; '.join(notes)}" for path, notes in sorted(others.items()))
        return [
            Violation(
                "clipping",
                f"every gradient clipped to {describe(wanted_bounds)}",
                f"{len(good)} of {total} gradients clipped so",
                hints,
            )
        ]

    def _no_clipping(self) -> list[Violation]:
        hints = tuple(
            f"{update.variable.path}: clipped to {clip}"
            for update in self.flow.trained
            for clip in self.detector.clips(update)
        )
        if not hints:
            return []
        return [Violation("clipping", "none", f"{len(hints)} gradients clipped", hints)]


def _bounds(expected: Any) -> Bounds:
    """``(lo, hi)``, ``{"norm": n}`` or ``{"global_norm": n}``."""
    if isinstance(expected, Mapping):
        if len(expected) != 1 or not expected.keys() <= {"norm", "global_norm"}:
            raise ValueError(
                f"clipping: {expected!r} is none of (lo, hi), {{'norm': n}}, {{'global_norm': n}}"
            )
        ((kind, norm),) = expected.items()
        return kind, 0.0, float(norm)
    lower, upper = expected
    return "value", float(lower), float(upper)


def _weight(keyword: str, name: str, weight: float | None) -> list[Violation]:
    """A violation if a constant factor other than 1 multiplies a recognised gradient."""
    if weight is None or np.isclose(weight, 1, rtol=1e-5):
        return []
    return [Violation(keyword, f"{name} with weight 1", f"weight {weight:.6g}")]


def _nearest(miss: Miss | None) -> tuple[str, ...]:
    if miss is None or miss.agreed < _TELLING:
        return ()
    return (
        f"nearest: {miss.agreed} ops of its gradient agree; first difference at {miss.at}: "
        f"{miss.difference}",
    )


def _close(a: float, b: float) -> bool:
    return bool(np.isclose(a, b, rtol=1e-3 if abs(b) < 1e-3 else 1e-5, atol=0))


def _names(paths: Iterable[str]) -> str:
    names = sorted(paths)
    if len(names) > _SHOWN:
        return f"{len(names)} variables ({', '.join(names[:2])}, ..., {names[-1]})"
    return ", ".join(names) or "none"
