"""By which optimizer a step updates each variable, and what of its gradient enters that.

What is written, to the variable and to what the optimizer keeps, is held against what an optimizer
at hand would write, fed with the same: whatever the step calls, or spells by hand. Where none does,
plain gradient descent is told by its rate.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from verify.find.branch_counts import COUNTS
from verify.find.descents import Descents
from verify.find.observed import DRAWS, Observed
from verify.find.optimizer_updates import OptimizerUpdate
from verify.find.shapes import Shapes
from verify.find.step_counts import steps_counted, steps_made
from verify.flow import Update
from verify.graphs import Tensor, VariableRef
from verify.match import NoValueError
from verify.references import (
    counts_around_changes,
    decays,
    optimizer_settings,
    optimizer_step,
    other_settings,
    same_settings,
    schedule_of,
    stand_in,
    variables_of,
)

_ENOUGH = 2  # draws in which the update is made
_MOST_KEPT = 4  # variables that an optimizer keeps for one
_SEVERAL = 4  # draws that are looked at where no branch decides

# Which of the tensors that a gradient passes enters an optimizer, by what the step computes and the
# optimizer's settings: values have told that of such an update before, in this process.
# Of one program, ways may begin sooner or later.
_PLACES: dict[tuple[bytes, int, str, bool], int] = {}


@dataclasses.dataclass(frozen=True)
class Rule:
    """How one variable is updated.

    `optimizer`: the object that would do the same, None for plain gradient descent. `rate`, `decay`
    of that: what the gradient and the variable are multiplied by and subtracted; None: not one
    number. `entry`: the tensor that enters the optimizer, and its place among the passages.
    `decided`: whether no part of the rate may as well be a factor of the gradient. `rates`: what it
    is after so many steps, where it is no one number.
    """

    optimizer: Any
    entry: Tensor
    place: int
    rate: float | None = None
    decay: float = 0.0
    decided: bool = True
    rates: tuple[tuple[int, float], ...] = ()


class Optimizers:
    """Answers about one step, or one branch of it.

    Args:
        observed: its values.
        sums: by key, the sums of the gradients of several calls: of these, what enters an optimizer
            may be made.
        expected: by key, the optimizers that may update variables besides those at hand.
    """

    def __init__(
        self,
        observed: Observed,
        sums: Callable[[int | str], Collection[Tensor]] = lambda _: (),
        expected: Mapping[int | str, Any] = MappingProxyType({}),
    ) -> None:
        self.observed, self.step, self.flow = observed, observed.step, observed.flow
        self.sums, self.expected = sums, expected
        self._miscounts: dict[int, tuple[int, int] | None] = {}  # by id of the optimizer

    @functools.cached_property
    def rules(self) -> dict[int | str, Rule]:
        """By key of the trained variable; no rule where no one is known."""
        if self.expected:
            return self._found()
        return {
            key: rule
            if number is None
            else dataclasses.replace(rule, optimizer=self.step.optimizers[number])
            for key, (rule, number) in self.observed.remembered(Rule, self._by_number).items()
        }

    @functools.cached_property
    def _variables(self) -> dict[int, Mapping[int | str, Any]]:
        """The variables of the optimizers at hand, by key, by id of the optimizer."""
        return {id(one): variables_of(one) for one in self.step.optimizers}

    def _by_number(self) -> dict[int | str, tuple[Rule, int | None]]:
        """Rules without the optimizers, which may lead to the function that the graph is kept for.

        In place of each, its number among those at hand.
        """
        numbers = {id(one): number for number, one in enumerate(self.step.optimizers)}
        return {
            key: (dataclasses.replace(rule, optimizer=None), numbers.get(id(rule.optimizer)))
            for key, rule in self._found().items()
        }

    def _found(self) -> dict[int | str, Rule]:
        found: dict[int | str, Rule] = {}
        groups = self.observed.alike
        for optimizer in self.step.optimizers:
            known = self._variables[id(optimizer)]
            keys = [k for k, all_ in groups.items() if k not in found and known.keys() >= {*all_}]
            found |= self._by(optimizer, {key: known[key] for key in keys})
        expected = {key: self._as_expected(key) for key in groups.keys() - found.keys()}
        found |= {key: rule for key, rule in expected.items() if rule is not None}
        left = {key: groups[key] for key in groups.keys() - found.keys()}
        for key, one in Descents(self.observed).of(left).items():
            entry = self.observed.ways[key][one.place]
            rule = Rule(None, entry, one.place, one.rate, one.decay, one.decided)
            # Where a branch decides, counts are fed that are not these.
            at = () if self.observed.counts else ((COUNTS[d], r) for d, r in one.rates.items())
            found[key] = dataclasses.replace(rule, rates=tuple(sorted(at)))
        return {
            key: dataclasses.replace(rule, entry=self.observed.ways[key][rule.place])
            for one, rule in found.items()
            for key in groups[one]
        }

    def of(self, update: Update) -> Rule | None:
        """How one update is made; None where that is not known."""
        return self.rules.get(update.variable.key) if self.observed.knows(update) else None

    def made_as(self, key: int | str, optimizer: Any) -> Rule | None:
        """How a variable is updated, if any optimizer with these settings would do it so."""
        first = self.observed.stands_for.get(key, key)
        rule = self._made_as(first, optimizer)
        if rule is None or first == key:
            return rule
        return dataclasses.replace(rule, entry=self.observed.ways[key][rule.place])

    def _made_as(self, key: int | str, optimizer: Any) -> Rule | None:
        rule = self.rules.get(key)
        if rule is not None and rule.optimizer is not None:
            variable = self._variables[id(rule.optimizer)][key]
            both = {decays(one, variable) for one in (rule.optimizer, optimizer)}
            if len(both) == 1 and same_settings(rule.optimizer, optimizer):
                return rule
            others = [name for name, *_ in other_settings(rule.optimizer, optimizer)]
            alike = type(rule.optimizer) is type(optimizer) and len(both) == 1
            if not alike or others != ["learning_rate"]:
                return None
            # A rate that is counted may have come to that of the one at hand.
        return self._made_by_another(key, optimizer)

    def _as_expected(self, key: int | str) -> Rule | None:
        """How a variable is updated, if that is by the optimizer that may do it."""
        rule = self._made_by_another(key, self.expected[key]) if key in self.expected else None
        return None if rule is None else dataclasses.replace(rule, optimizer=None)

    def _made_by_another(self, key: int | str, optimizer: Any) -> Rule | None:
        """The same by an optimizer that is not at hand."""
        if key not in self.observed.ways:
            return None
        variable = self.observed.updates[key].variable
        shape = Shapes().of(variable.shape)
        in_rows = key in self.observed.fed_rows.repeated
        made = stand_in(optimizer, [variable.path], [shape], variable.dtype, in_rows)
        if made is None:
            return None
        whole = OptimizerUpdate(made, [key], self.observed)
        rate = optimizer_settings(optimizer)["learning_rate"]
        scales = (1.0, -float(rate)) if isinstance(rate, float) and rate else (1.0,)
        kept = [v.key for v in whole.kept(key)]
        mine = itertools.permutations(self._kept(key), len(kept))
        for states, scale in itertools.product(mine, scales):
            own = dict(zip(kept, states, strict=True))
            own[made.variables[0]] = variable
            reference = OptimizerUpdate(made, [key], self.observed, own, scale)
            for rule in self._made_by(optimizer, reference).values():
                # What the step keeps by itself is no state of the optimizer that is asked for.
                state = self.observed.state_of(key, rule.entry)
                of_its_own = bool(state) and not state <= self._added_up(key)
                if not of_its_own and self._holds_between(key, rule, optimizer, reference):
                    return rule
        return None

    def _holds_between(
        self, key: int | str, rule: Rule, optimizer: Any, reference: OptimizerUpdate
    ) -> bool:
        """Whether it is updated so where the schedule of an optimizer changes most, if it has one.

        The usual counts of steps may be on the same sides of two changes.
        """
        schedule = schedule_of(optimizer)
        counts = () if schedule is None else counts_around_changes(schedule, DRAWS)
        if not counts:
            return True
        observed = Observed(self.step, self.flow, counts)
        made, own, scale = reference.made, reference.own, reference.scale
        again = OptimizerUpdate(made, [key], observed, own, scale)
        later = Optimizers(observed, self.sums)
        return bool(later._fitting(again, [key], rule.place, 0, observed.shapes))

    def _added_up(self, key: int | str) -> frozenset[int | str]:
        """The keys of what keeps the gradients of several calls, each times the same number."""
        way = self.observed.ways[key]
        sums = (self.observed.state_of(key, tensor) for tensor in self.sums(key) if tensor in way)
        return frozenset[int | str]().union(*sums)

    def _kept(self, key: int | str) -> list[VariableRef]:
        """What the step writes besides a variable that is as large, and depends on its gradient.

        What it also writes where it does not update the variable is last.
        """
        start, update = self.observed.ways[key][0], self.observed.updates[key]
        below, shape = self.flow.descendants([start[0]]), update.variable.shape
        written: dict[int | str, VariableRef] = {}
        elsewhere = set[int | str]()
        for node, v in self.step.flat.writes():
            if node.index in below and v.shape == shape and not self.flow.is_trainable(v):
                written[v.key] = v
                elsewhere |= {v.key} if node.path != update.node.path else set()
        return sorted(written.values(), key=lambda v: v.key in elsewhere)[:_MOST_KEPT]

    def miscounted(self, optimizer: Any) -> tuple[int, int] | None:
        """(steps that an optimizer counts, those that it makes); None where these are as many."""
        if id(optimizer) not in self._miscounts:
            self._miscounts[id(optimizer)] = self._miscount(optimizer)
        return self._miscounts[id(optimizer)]

    def _miscount(self, optimizer: Any) -> tuple[int, int] | None:
        counts = steps_counted(self.observed, optimizer)
        if counts == 1:
            return None
        mine = {k: r.place for k, r in self.rules.items() if r.optimizer is optimizer}
        # What it updates several times, or in a way that is not known, may be another step.
        if self.flow.trained_of.keys() & variables_of(optimizer).keys() - mine.keys():
            return None
        one_each = mine.keys() & self.observed.alike.keys()
        fits = (self._as_which(optimizer, key, mine[key], counts) for key in one_each)
        makes = steps_made(fits)
        return None if makes is None or makes == counts else (counts, makes)

    def _as_which(self, optimizer: Any, key: int | str, place: int, counts: int) -> frozenset[int]:
        """As which of the steps that an optimizer counts it may make an update."""
        step = optimizer_step(
            optimizer, [variables_of(optimizer)[key]], self.observed.fed_rows.repeated
        )
        if step is None:
            return frozenset()
        update, shapes = OptimizerUpdate(step, [key], self.observed), self.observed.shapes
        every = range(counts)
        return frozenset(one for one in every if self._fitting(update, [key], place, one, shapes))

    # -- an optimizer at hand ----------------------------------------------------------------------

    def _by(self, optimizer: Any, variables: Mapping[int | str, Any]) -> dict[int | str, Rule]:
        """Which of its variables, by key, an optimizer updates."""
        settings = repr((type(optimizer), optimizer_settings(optimizer)))
        programs = self.observed.programs
        seen = {
            key: (
                programs[key],
                len(self.observed.ways[key]),
                settings,
                decays(optimizer, variable),
            )
            for key, variable in variables.items()
            if key in programs
        }
        places = {key: _PLACES[one] for key, one in seen.items() if one in _PLACES}
        found = {
            key: Rule(optimizer, self.observed.ways[key][place], place)
            for key, place in places.items()
        }
        keys = [key for key in variables if key not in found]
        tables = self.observed.fed_rows.repeated
        made = optimizer_step(optimizer, [variables[k] for k in keys], tables) if keys else None
        if made is not None:
            new = self._made_by(optimizer, OptimizerUpdate(made, keys, self.observed))
            _PLACES.update({seen[key]: rule.place for key, rule in new.items() if key in seen})
            found |= new
        return found

    def _made_by(self, optimizer: Any, reference: OptimizerUpdate) -> dict[int | str, Rule]:
        """The variables that are updated as by this optimizer."""
        found = self._made_with(optimizer, reference, reference.keys, self.observed.shapes)
        # Means over all of a table are divided by its own size, where gradients are rows of it.
        rows = self.observed.rows.keys() & reference.keys - found.keys()
        return found | self._made_with(optimizer, reference, [*rows], self.observed.shapes[1:])

    def _made_with(
        self,
        optimizer: Any,
        reference: OptimizerUpdate,
        keys: Sequence[int | str],
        shapes: Sequence[Shapes],
    ) -> dict[int | str, Rule]:
        ways, found = self.observed.ways, dict[int | str, Rule]()
        for sooner in range(reference.steps):
            # The last that fits: what comes before it may be a clip that no draw here meets.
            for place in reversed(range(max((len(ways[key]) for key in keys), default=0))):
                left = [k for k in keys if k not in found and place < len(ways[k])]
                for key in self._fitting(reference, left, place, sooner, shapes):
                    found[key] = Rule(optimizer, ways[key][place], place)
            if len(found) == len(keys):
                break
        return found

    def _fitting(
        self,
        reference: OptimizerUpdate,
        keys: Sequence[int | str],
        place: int,
        sooner: int,
        cuts: Sequence[Shapes],
    ) -> list[int | str]:
        left, made = list(keys), dict.fromkeys(keys, 0)
        for draw in range(DRAWS):
            if not left:
                break
            for shapes in cuts:
                try:
                    there = reference.evaluation(draw, shapes, place, sooner)
                    here = self.observed.evaluation(draw, shapes)
                    feed = self.observed.feed(draw, shapes)
                    told = {
                        key: reference.alike(key, here, there, feed)
                        for key in left
                        if self.observed.is_made(self.observed.updates[key], draw, shapes)
                    }
                except NoValueError:
                    continue
                left = [key for key in left if told.get(key) is not False]
                made |= {key: made[key] + 1 for key in left if told.get(key)}
                break
            else:
                return []
            # Where an update is made at some counts alone, others may tell another rate.
            often = min(made[key] for key in left or keys) == draw + 1 >= _SEVERAL
            if often and not reference.flat.guards and self.observed.usual is COUNTS:
                break
        return [key for key in left if made[key] >= _ENOUGH]
