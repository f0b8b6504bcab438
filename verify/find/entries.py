"""Which sum of the gradients of several calls enters an optimizer.

Told by an optimizer at hand that would write the same as the step; where none does, by a learning
rate that a variable holds. Else it has to be the mean that is on the way, with nothing that
multiplies it up afterwards: a smaller number is taken to be a rate.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.calls import Calls
from verify.find.gradient_sums import GradientSum, distinct, is_one, multiple
from verify.find.observed import Array
from verify.find.one_call import Call
from verify.find.shapes import Shapes
from verify.find.single_writes import Key
from verify.flow import Dependence, Update
from verify.graphs import Tensor, VariableRef
from verify.match import Evaluation, NoValueError, Plan, same_change
from verify.references import OptimizerStep, accumulators, optimizer_step, variables_of

LEFT_OVER = (
    "the gradients of all calls so far: what is added up is never emptied",
    "their gradients and what was there before: it does not begin at zero",
)
"""What is said of an update by sums that do not begin at zero."""

_LARGER = 1.001
_FREE = 4  # numbers are needed to tell a decay from a gradient


@dataclasses.dataclass(frozen=True)
class Updated:
    """An update of which several calls were looked at: the numbers of those that make it, `at`.

    `sums`: the sums of gradients on its way, in the order of the graph.
    """

    update: Update
    at: tuple[int, ...]
    sums: tuple[GradientSum, ...]

    @property
    def calls(self) -> int:
        """The calls to an update."""
        return self.at[1] - self.at[0]


class Entries:
    """What enters the optimizer in several calls of a step.

    `updated`: per trained variable, by key, how it is updated in these calls.
    """

    def __init__(
        self,
        of: Calls,
        shapes: Shapes,
        calls: Sequence[Call],
        updated: Mapping[Key, Updated],
    ) -> None:
        self.of, self.flow, self.shapes, self.calls, self.updated = (
            of,
            of.flow,
            shapes,
            calls,
            updated,
        )
        self._found: dict[Key, GradientSum] = {}
        self._moved: set[Key] = set()
        for optimizer in of.step.optimizers:
            known = variables_of(optimizer)
            keys = [key for key in self._alike if key in known and key not in self._found]
            made = optimizer_step(optimizer, [known[key] for key in keys]) if keys else None
            if made is not None:
                self._hold_against(_Optimizer(made, keys, accumulators(optimizer)))

        for first, others in self._alike.items():
            if first in self._found:
                self._found |= dict.fromkeys(others, self._found[first])
                self._moved |= others if first in self._moved else set()

    @functools.cached_property
    def _alike(self) -> dict[Key, set[Key]]:
        """Of variables that are updated by the same ops and sums, one with the others."""
        leaders = {key: one for one, all_ in self.of.observed.alike.items() for key in all_}
        found: dict[tuple[Key, str], list[Key]] = {}
        for key, one in self.updated.items():
            told = str(
                [[f"{weight:.5g}" for weight in each.weights] for each in distinct(one.sums)]
            )
            found.setdefault((leaders.get(key, key), told), []).append(key)
        return {first: {*others} for first, *others in found.values()}

    def told(self, key: Key) -> str:
        """What a variable is updated by instead of the mean of gradients; empty if by that."""
        one = self.updated[key]
        entry = self._found.get(key) or self._without_optimizer(key)
        if entry is None or (key not in self._found and entry.factor is None):
            told = (
                "what is not known to be a sum of their gradients" if entry is None else str(entry)
            )
            return self._left(key) or told
        factor = entry.since
        if factor is None and self._is_updated_first(key):
            factor = entry.until
        if factor is None:
            return str(entry)
        scales, dtype = self.of.scales[key], one.update.variable.dtype
        if not any(is_one(factor * one.calls * scale, dtype) for scale in scales):
            times = factor * one.calls * max(scales)
            if is_one(times / one.calls, dtype):
                return "the sum of their gradients"
            return f"{times:.6g} times the mean of their gradients"
        if key in self._moved:
            return "their mean, though what the optimizer keeps moves in other calls as well"
        return ""

    def _is_updated_first(self, key: Key) -> bool:
        """Whether the gradients of a call are taken after its update."""
        update, flat = self.updated[key].update, self.of.flat
        above = self.flow.ancestors(tensor[0] for tensor in self.of.starts[key])
        reads = [n for n, v in flat.reads() if v.key == key and n.index in above]
        return all(node.index > update.node.index for node in reads)

    def _left(self, key: Key) -> str:
        """What is left of before an update in what is added up; empty if that is not known."""
        one = self.updated[key]
        first, second, third = one.at
        for tensor in self.of.passed(one.update):
            try:
                values = [self.calls[number].value(tensor) for number in (second, third)]
            except NoValueError:
                continue
            for start in self.of.starts[key]:
                earlier, later = (
                    np.sum(
                        [c.gradients[start].reshape(-1) for c in self.calls[a + 1 : b + 1]], axis=0
                    )
                    for a, b in ((first, second), (second, third))
                )
                if len(later) != len(values[0]):
                    continue
                change = values[1] - values[0]
                if _is_usual(multiple(change, later), one):
                    return LEFT_OVER[0]
                if _is_usual(multiple(change, later - earlier), one):
                    return LEFT_OVER[1]
        return ""

    # -- an optimizer at hand ----------------------------------------------------------------------

    def _hold_against(self, optimizer: _Optimizer) -> None:
        """Finds what enters an optimizer that would write the same as the step."""
        sums = {key: distinct(self.updated[key].sums) for key in optimizer.keys}
        fitting: dict[Key, list[GradientSum]] = {}
        for turn in range(max(map(len, sums.values()))):
            entries = {k: own[min(turn, len(own) - 1)].tensor for k, own in sums.items() if own}
            left = [key for key in optimizer.keys if turn < len(sums[key])]
            for number in sorted({number for key in left for number in self.updated[key].at[1:]}):
                here = self.calls[number]
                there = self._evaluated(optimizer, here, entries)
                left = [
                    key
                    for key in left
                    if number not in self.updated[key].at[1:]
                    or _is_alike(here, there, optimizer.written[key])
                ]
            for key in left:
                fitting.setdefault(key, []).append(sums[key][turn])
        # Where several would do, values do not tell which one it is.
        self._found |= {key: one for key, (one, *others) in fitting.items() if not others}
        for key in self._found.keys() & {*optimizer.keys}:
            kept = {v.key for v in optimizer.written[key] if v.shape != () and v.key != key}
            if any(kept & call.changed for call in self.calls if key not in call.changed):
                self._moved.add(key)

    def _evaluated(
        self, optimizer: _Optimizer, call: Call, entries: Mapping[Key, Tensor]
    ) -> Evaluation:
        """What an optimizer makes of some tensors of a call, and of what that has found.

        One that accumulates by itself is given as much as makes a mean of these, and has no sums.
        """
        steps, emptied = optimizer.accumulators
        cut: dict[Tensor, Any] = {}
        for argument, key in zip(optimizer.made.flat.arguments, optimizer.keys, strict=True):
            value = np.zeros(call.before[key].shape)
            if key in entries:
                value = steps * call.value(entries[key]).reshape(value.shape)
            cut[argument, 0] = tf.constant(value)
        state = {k: np.zeros_like(v) if k in emptied else v for k, v in call.before.items()}
        return Evaluation(optimizer.plan, self.of.feed(self.shapes, state), cut)

    # -- none at hand ------------------------------------------------------------------------------

    def _without_optimizer(self, key: Key) -> GradientSum | None:
        """What enters an update of which no optimizer at hand is known to make the same."""
        one = self.updated[key]
        sums = distinct(one.sums)
        if not sums or sums[-1].factor is None:
            calls = sums[-1].calls if sums else ()
            return next((each for each in sums if each.calls == calls), None)
        sums = [each for each in sums if each.factor is not None]
        scales, last = self.of.scales[key], sums[-1]
        dtype = one.update.variable.dtype
        plain = self._is_plain(key, last)
        if plain:
            for rate in self._rates(one.update):
                entry = GradientSum(last.tensor, tuple(abs(w / rate) for w in last.weights))
                factor = abs(_factor(last) / rate)
                if any(is_one(factor * n * s, dtype) for n in (one.calls, 1) for s in scales):
                    return entry
            factors = [_factor(each) for each in sums]
            ratios = [abs(b / a) for a, b in itertools.pairwise(factors)]
            shares = [ratio for ratio in ratios if ratio < 1]
            if len(shares) > 1 and any(is_one(share * one.calls, dtype) for share in shares):
                # A division by the calls, and a rate, in whatever order.
                more = math.prod(ratio for ratio in ratios if ratio > _LARGER) / one.calls
                return GradientSum(
                    last.tensor, tuple(w and more * factors[0] for w in last.weights)
                )
            sums = sums[:-1] or sums  # the last one is times the rate
        for place, each in enumerate(sums):
            if any(is_one(_factor(each) * one.calls * scale, dtype) for scale in scales):
                least = _LARGER * abs(_factor(each))
                larger = (o for o in reversed(sums[place:]) if abs(_factor(o)) > least)
                return next(larger, each)
        return sums[-1] if plain else sums[0]

    def _is_plain(self, key: Key, last: GradientSum) -> bool:
        """Whether a variable changes by a sum of gradients times a number; it may decay besides."""
        one = self.updated[key]
        calls = [self.calls[number] for number in one.at[1:]]
        held = [call.before[key].reshape(-1) for call in calls]
        changes = np.concatenate(
            [h - c.after(one.update.variable) for h, c in zip(held, calls, strict=True)]
        )
        entered = np.concatenate([call.value(last.tensor) for call in calls])
        if multiple(changes, entered) is not None:
            return True
        if not any(update.variable.key == key for update in self.of.observed.flow.decayed):
            return False
        if len(changes) <= _FREE:
            # So few numbers are any sum of both: they are taken to be as others are.
            others = {k: distinct(u.sums) for k, u in self.updated.items()}
            large = {k: own[-1] for k, own in others.items() if own and self._is_large(k)}
            return bool(large) and all(self._is_plain(k, own) for k, own in large.items())
        columns = np.stack([entered, np.concatenate(held)], axis=1)
        share: Array = np.linalg.lstsq(columns, changes, rcond=None)[0][1]
        return multiple(changes - share * columns[:, 1], entered) is not None

    def _is_large(self, key: Key) -> bool:
        shape = self.updated[key].update.variable.shape
        return math.prod(size or 0 for size in shape) > _FREE

    def _rates(self, update: Update) -> list[float]:
        """Numbers that variables hold, and that decide an update: a learning rate is one."""
        begun = {t[0] for starts in self.of.starts.values() for t in starts}
        above = self.flow.ancestors([update.node.index], without=begun)
        read = {v.key for node, v in self.of.flat.reads() if node.index in above}
        numbers = {k: n for k, n in self.of.step.numbers.items() if k in read - self.of.kept.keys()}
        return [abs(number) for number in numbers.values() if number]


class _Optimizer:
    """What an optimizer does with the gradients of some variables, by their keys.

    `accumulators`: of how many gradients it makes a mean, and the keys of what it adds them up in.
    """

    def __init__(
        self, made: OptimizerStep, keys: Sequence[Key], accumulators: tuple[int, frozenset[Key]]
    ) -> None:
        self.made, self.keys, self.accumulators = made, keys, accumulators
        self.plan = Plan(made.flat)

    @functools.cached_property
    def written(self) -> dict[Key, list[VariableRef]]:
        """What is written of each gradient: its variable, and what is kept for that."""
        depends, found = Dependence(self.made.flat), dict[Key, list[VariableRef]]()
        for key, argument in zip(self.keys, self.made.flat.arguments, strict=True):
            below = depends.descendants([argument])
            every = {v.key: v for node, v in self.made.flat.writes() if node.index in below}
            others = {*self.keys, *self.accumulators[1]} - {key}
            found[key] = [v for own, v in every.items() if own not in others]
        return found


def _is_alike(call: Call, there: Evaluation, written: Sequence[VariableRef]) -> bool:
    """Whether a call has left the same in some variables as an optimizer leaves in them."""
    for variable in (v for v in written if v.key in call.before):
        held = call.before[variable.key].reshape(-1)
        try:
            own = call.after(variable)
            other: Array = np.asarray(there.final(variable), np.float64).reshape(-1)
        except NoValueError:
            return False
        if {own.shape, other.shape} != {held.shape} or not same_change(own, other, held):
            return False
    return True


def _is_usual(factor: float | None, of: Updated) -> bool:
    """Whether a factor is one, or a share of about the calls to an update.

    Of a single number, any factor fits.
    """
    counts = (1, of.calls - 1, of.calls, of.calls + 1)
    return factor is not None and any(is_one(factor * count) for count in counts)


def _factor(one: GradientSum) -> float:
    assert one.factor is not None  # others were left out
    return one.factor
