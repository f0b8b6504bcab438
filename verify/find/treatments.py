"""What is done to a gradient between backpropagation and the optimizer, told by values.

Gradients of all sizes are fed where backpropagation ends, and what enters the optimizer is looked
at: the same, a multiple, the same within bounds, scaled to a norm; or anything else.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from verify.find.observed import DRAWS, Array, Observed
from verify.find.optimizers import Optimizers, Rule
from verify.find.shapes import Shapes
from verify.flow import Update
from verify.graphs import Tensor
from verify.match import NoValueError

_TOLERANCE = 1e-4  # of the largest value: a norm may be kept away from zero by a little
_TWICE = 2  # draws, or elements, in which something has to be seen
_ASTRAY = 0.3  # the cosine of the angle between a gradient and what takes its place
_SMALL = 10.0  # beside which noise is seen
_SMALLER = 0.1  # what has become of the largest gradients then, of that of others


@dataclasses.dataclass(frozen=True)
class Treatment:
    """What is done to one gradient.

    `kind`: ``same``, ``value``, ``norm``, ``global_norm``, or ``other``; `lower`, `upper`: the
    bounds, or the norm. `factor`: what the gradient is multiplied by besides; None if it may as
    well be a part of the learning rate, or is not known. `limits`: whether large gradients are made
    smaller than in proportion; `gradients`: of how many a norm is. `decay`: which share of the
    variable is added. `follows`: whether the direction is about that of the gradient, or its
    opposite. `scale`: what it is multiplied by, if that may be a part of the rate.
    """

    kind: str
    lower: float = 0.0
    upper: float = 0.0
    factor: float | None = 1.0
    limits: bool = False
    gradients: int = 1
    decay: float = 0.0
    follows: bool = True
    scale: float = 1.0


class Treatments:
    """Answers about one step, or one branch of it."""

    def __init__(self, observed: Observed, optimizers: Optimizers) -> None:
        self.observed, self.optimizers = observed, optimizers
        self._opposed: dict[tuple[int | str, int], bool] = {}  # by key and place of the entry

    def of(self, update: Update) -> Treatment | None:
        """What is done before the optimizer; None if it is not known what enters that."""
        return self.all.get(update.variable.key) if self.observed.knows(update) else None

    def kept(self, update: Update, clipped: Tensor) -> float | None:
        """What one tensor is multiplied by until it enters the optimizer; None if that is not all.

        It is one that the gradient passes, as a clip that was found by structure.
        """
        pairs = self._pairs(update.variable.key, clipped) if self.observed.knows(update) else None
        treatment = None if pairs is None else pairs.multiple()
        return None if treatment is None else treatment.factor

    def is_changed(self, update: Update, made: Tensor) -> bool:
        """Whether a tensor that is made of the gradient is known to be no multiple of it."""
        pairs = (
            self._pairs(update.variable.key, entry=made) if self.observed.knows(update) else None
        )
        return pairs is not None and pairs.multiple() is None

    def opposes(self, update: Update, rule: Rule) -> bool:
        """Whether what enters an optimizer by this rule leads the opposite way of the gradient."""
        key = update.variable.key
        if key not in self.observed.ways or not self.observed.is_whole(key):
            return False
        known = self.observed.stands_for.get(key, key), rule.place
        if known not in self._opposed:
            pairs = self._pairs(known[0], entry=self.observed.ways[known[0]][rule.place])
            self._opposed[known] = pairs is not None and pairs.cosine < -_ASTRAY
        return self._opposed[known]

    def added(self, update: Update, share: float) -> Array:
        """What enters an optimizer besides a share of the gradient, of draws where that is small.

        Raises:
            NoValueError: it is not known.
        """
        known = update.variable.key in self.optimizers.rules and self.observed.knows(update)
        pairs = self._pairs(update.variable.key) if known else None
        if pairs is None:
            raise NoValueError("what enters the optimizer is not known")
        both = zip(pairs.before, pairs.after, strict=True)
        small = [y - share * x for x, y in both if np.abs(x).max(initial=0) <= _SMALL]
        return np.concatenate(small)

    def entry(self, update: Update) -> Tensor:
        """What enters the optimizer."""
        return self.optimizers.rules[update.variable.key].entry

    def between(self, update: Update) -> frozenset[int]:
        """The nodes by which a gradient is made what enters the optimizer."""
        key = update.variable.key
        return self.observed.between(key, self.optimizers.rules[key].entry)

    @functools.cached_property
    def all(self) -> dict[int | str, Treatment]:
        """By key of the variable."""
        if self.optimizers.expected:
            return self._found()
        return self.observed.remembered(Treatment, self._found)

    def _found(self) -> dict[int | str, Treatment]:
        found: dict[int | str, Treatment] = {}
        left: dict[int | str, _Pairs] = {}
        numbers: dict[int | str, _Pairs] = {}
        rules, groups = self.optimizers.rules, self.observed.alike
        for one, keys in groups.items():
            if one not in rules or not self._is_told(one):
                continue
            pairs = self._pairs(one)
            treatment = None
            if pairs is not None:
                treatment = pairs.multiple() or pairs.within_bounds() or pairs.decayed()
            if treatment is not None:
                found |= dict.fromkeys(keys, treatment)
                if pairs is not None and treatment.kind == "value" and pairs.before[0].size == 1:
                    each = {key: self._pairs(key) for key in keys}
                    numbers |= {key: own for key, own in each.items() if own is not None}
            else:
                each = {key: self._pairs(key) for key in keys}
                left |= {key: pairs for key, pairs in each.items() if pairs is not None}
        # Of single numbers, a few that are clipped by a common norm may look like two bounds.
        norms = _to_norms(left | numbers)
        found |= {k: one for k, one in norms.items() if k in left or one.kind == "global_norm"}
        undecided = {key for key, rule in self.optimizers.rules.items() if not rule.decided}
        return {
            key: dataclasses.replace(one, factor=None, scale=one.factor or 1.0)
            if key in undecided
            else one
            for key, one in found.items()
        }

    def _is_told(self, key: int | str) -> bool:
        """Whether what enters the optimizer is made of the gradient alone, all of which is fed."""
        entry = self.optimizers.rules[key].entry
        return self.observed.is_whole(key) and not self.observed.is_of_state(key, entry)

    @functools.cached_property
    def _shapes(self) -> tuple[Shapes, ...]:
        """What variables are cut down to: last, where norms are those of all elements."""
        shapes, observed = self.observed.shapes, self.observed
        rules = self.optimizers.rules
        one_each = rules.keys() & observed.alike.keys()
        by_element = all(observed.is_by_element(key, rules[key].entry) for key in one_each)
        return shapes if by_element else (*reversed(shapes),)

    def _pairs(
        self, key: int | str, start: Tensor | None = None, entry: Tensor | None = None
    ) -> _Pairs | None:
        """Gradients, or what was made of them on the way, with what enters the optimizer."""
        begun = start or self.observed.ways[key][0]
        entry = entry or self.optimizers.rules[key].entry
        for shapes in self._shapes:
            try:
                begins, after = self._values(begun, shapes), self._values(entry, shapes)
                whole = [self.observed.fed_rows.whole(key, one, shapes) for one in begins]
                before = begins
                if len(after[0]) != len(begins[0]):
                    after = [self.observed.fed_rows.whole(key, one, shapes) for one in after]
                    rows = self._added_up_to(key, after, len(begins[0]), shapes)
                    before, after = (whole, after) if rows is None else (begins, rows)
            except NoValueError:
                continue
            alike = all(a.shape == b.shape for a, b in zip(before, after, strict=True))
            if alike and all(np.isfinite(a).all() for a in after):
                held = functools.partial(self._held, key, shapes)
                return _Pairs(before, after, held, (begins, whole))
        return None

    def _values(self, tensor: Tensor, shapes: Shapes) -> list[Array]:
        """A tensor in each draw, flat."""
        evaluations = (self.observed.evaluation(draw, shapes) for draw in range(DRAWS))
        return [np.asarray(one.value(tensor), np.float64).reshape(-1) for one in evaluations]

    def _added_up_to(
        self, key: int | str, made: list[Array], size: int, shapes: Shapes
    ) -> list[Array] | None:
        """The last on the way of a gradient that consists of rows, if it is these added up."""
        for tensor in reversed(self.observed.ways[key]):
            rows = self._values(tensor, shapes)
            if len(rows[0]) == size:
                whole = (self.observed.fed_rows.whole(key, value, shapes) for value in rows)
                return rows if all(map(_alike, whole, made)) else None
        return None

    def _held(self, key: int | str, shapes: Shapes) -> list[Array]:
        """What a variable holds in each draw."""
        feeds = (self.observed.feed(draw, shapes) for draw in range(DRAWS))
        variable = self.observed.updates[key].variable
        return [np.asarray(feed.variable(variable), np.float64).reshape(-1) for feed in feeds]


class _Pairs:
    """Gradients of several draws, what is made of them, and what the variable holds, if asked.

    `normed`: what a norm may be of: the same; of rows, these one by one, or added up.
    """

    def __init__(
        self,
        before: Sequence[Array],
        after: Sequence[Array],
        held: Callable[[], list[Array]],
        normed: tuple[Sequence[Array], Sequence[Array]],
    ) -> None:
        self.before, self.after, self._held, self.normed = before, after, held, normed

    def multiple(self) -> Treatment | None:
        """Whether all are multiplied by one number."""
        # A gradient that was clipped to one side before is zero in some draws.
        told = next((i for i, x in enumerate(self.before) if x.any()), 0)
        factor = _ratio(self.before[told], self.after[told])
        return Treatment("same", factor=factor) if self._are(lambda x: factor * x) else None

    def decayed(self) -> Treatment | None:
        """Whether all are multiplied by one number, and a share of the variable is added."""
        held = self._held()
        if held[0].shape != self.before[0].shape:  # rows, some of which are the same row
            return None
        columns = [np.stack([x, w], axis=1) for x, w in zip(self.before, held, strict=True)]
        scale = [np.abs(x).max(initial=1.0) for x in self.before]
        rows = np.concatenate([c / s for c, s in zip(columns, scale, strict=True)])
        wanted = np.concatenate([y / s for y, s in zip(self.after, scale, strict=True)])
        (factor, share), *_ = np.linalg.lstsq(rows, wanted, rcond=None)
        there = zip(columns, self.after, strict=True)
        if abs(share) < _TOLERANCE or not all(_alike(c @ [factor, share], y) for c, y in there):
            return None
        return Treatment("same", factor=float(factor), decay=float(share))

    def within_bounds(self) -> Treatment | None:
        """Whether all are multiplied by one number and kept within two bounds, both met."""
        every = np.concatenate(self.after)
        lower, upper = float(every.min()), float(every.max())
        near = _TOLERANCE * max(abs(lower), abs(upper))
        ratios = [
            after[inside] / before[inside]
            for before, after in zip(self.before, self.after, strict=True)
            if (inside := (after > lower + near) & (after < upper - near) & (before != 0)).any()
        ]
        if not ratios:
            return None
        factor = float(np.median(np.concatenate(ratios)))
        made = factor * np.concatenate(self.before)
        # Whatever is made of few elements, one of them is the largest: bounds are met more often.
        often = _TWICE if self.before[0].size > 1 else 1
        met = min((made < lower - near).sum(), (made > upper + near).sum()) >= often
        if not met or not self._are(lambda x: np.clip(factor * x, lower, upper)):
            return None
        return Treatment("value", lower, upper, factor, limits=True)

    @property
    def limits(self) -> bool:
        """Whether the largest gradients of one sign come out smaller than in proportion."""
        by_size = sorted(
            zip(self.before, self.after, strict=True),
            key=lambda pair: np.abs(pair[0]).max(initial=0),
        )
        for sign in (1, -1):
            shares = [
                float(np.abs(y[side]).max() / np.abs(x[side]).max())
                for x, y in by_size
                if (side := sign * x > 0).any()
            ]
            if len(shares) > 1 and shares[-1] < _SMALLER * shares[-2]:
                return True
        return False

    @property
    def follows(self) -> bool:
        """Whether what is made of gradients leads about where they do, or opposite, mostly."""
        return not self._cosines or self.before[0].size == 1 or abs(self.cosine) > _ASTRAY

    @property
    def cosine(self) -> float:
        """Of the angle between gradients and what is made of them, in most draws; 0 of nothing."""
        return float(np.median(self._cosines)) if self._cosines else 0.0

    @functools.cached_property
    def _cosines(self) -> list[float]:
        return [
            float(x @ y) / float(np.linalg.norm(x) * np.linalg.norm(y))
            for x, y in zip(self.before, self.after, strict=True)
            if x.any() and y.any()
        ]

    @functools.cached_property
    def factors(self) -> list[float] | None:
        """What each is multiplied by, all of its elements alike; None if that is not so."""
        found = [_ratio(x, y) for x, y in zip(self.before, self.after, strict=True)]
        alike = all(
            _alike(factor * x, y)
            for factor, x, y in zip(found, self.before, self.after, strict=True)
        )
        return found if alike else None

    def _are(self, made: Callable[[Array], Array]) -> bool:
        return all(_alike(made(x), y) for x, y in zip(self.before, self.after, strict=True))


def _to_norms(left: dict[int | str, _Pairs]) -> dict[int | str, Treatment]:
    """Those that are scaled to a norm: each to its own, or several to a common one."""
    found: dict[int | str, Treatment] = {}
    groups: dict[tuple[float, ...], list[int | str]] = {}
    for key, pairs in left.items():
        if pairs.factors is not None:
            alike = tuple(float(f"{factor:.6g}") for factor in pairs.factors)
            groups.setdefault(alike, []).append(key)
    for keys in groups.values():
        kind, group = "norm" if len(keys) == 1 else "global_norm", [left[key] for key in keys]
        levels = zip(*(pairs.normed for pairs in group), strict=True)
        treatments = (_to_norm(kind, group[0].factors or [], level) for level in levels)
        treatment = next((one for one in treatments if one is not None), None)
        if treatment is not None:
            found |= dict.fromkeys(keys, treatment)
    others = {
        key: Treatment("other", factor=None, limits=pairs.limits, follows=pairs.follows)
        for key, pairs in left.items()
        if key not in found
    }
    return found | others


def _to_norm(
    kind: str, multiplied: Sequence[float], group: Sequence[Sequence[Array]]
) -> Treatment | None:
    """Whether gradients, draw by draw, are multiplied so that their norm is bounded."""
    factors = np.asarray(multiplied)
    sign = -1.0 if (factors < 0).all() else 1.0  # what is bounded may be the opposite
    factors = sign * factors
    draws = zip(*group, strict=True)
    norms = np.asarray([np.sqrt(sum(float(x @ x) for x in draw)) for draw in draws])
    factor, norm = float(factors.max()), float((factors * norms).max())
    free = np.isclose(factors, factor, rtol=_TOLERANCE, atol=0)
    expected = np.minimum(factor, norm / norms)
    if min(free.sum(), (~free).sum()) < _TWICE or not np.allclose(
        factors, expected, rtol=_TOLERANCE, atol=0
    ):
        return None
    return Treatment(kind, 0.0, norm, sign * factor, True, len(group))


def _ratio(x: Array, y: Array) -> float:
    """The number that comes nearest to making `y` of `x`."""
    size = float(np.abs(x).max(initial=0))
    return 0.0 if size == 0 else float((x / size) @ y / ((x / size) @ x))


def _alike(made: Array, there: Array) -> bool:
    size = max(np.abs(made).max(initial=0), np.abs(there).max(initial=0))
    return bool(np.abs(made - there).max(initial=0) <= _TOLERANCE * size)
