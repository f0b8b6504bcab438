"""Of how many calls a step averages the gradients before it applies them.

A step is called again and again (`verify.find.calls`). In which calls a trained variable changes
says how many there are to an update, and what its gradients pass on their way says with which
weights they enter it (`verify.find.entries`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from verify.find.calls import Calls
from verify.find.entries import Entries, Updated
from verify.find.gradient_sums import GradientSum, gradient_sum
from verify.find.observed import Array
from verify.find.one_call import Call
from verify.find.shapes import Shapes
from verify.find.single_writes import Key
from verify.flow import Update, reached
from verify.graphs import Tensor, key_of
from verify.match import NoValueError

_UPDATES = 3  # that are waited for: what lies between two of them is looked at
_MOST_CALLS = 64  # to an update, where it is not known how many there are

_MEAN = "the mean of their gradients"
_BETWEEN = "in each of the calls between it is changed without one, as by a decay"


@dataclasses.dataclass(frozen=True)
class Accumulated:
    """How the gradients of one variable are applied.

    `calls`: how many there are to an update, of two in turn; `told`: by what it is made instead of
    the mean of their gradients, empty where by that; `unknown`: why it can't be told. `sums`: what
    has the gradients of all calls to an update in it, each times the same number.
    """

    calls: tuple[int, ...] = ()
    told: str = ""
    unknown: str = ""
    sums: frozenset[Tensor] = frozenset()

    @property
    def of_mean(self) -> int | None:
        """The calls whose gradients are averaged; None for anything else."""
        if self.told or self.unknown or len(set(self.calls)) != 1:
            return None
        return self.calls[0]


class Accumulation:
    """Answers about one step, or one branch of it."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.step, self.flow, self.flat = calls, calls.step, calls.flow, calls.flat
        self._known: dict[int, dict[Key, Accumulated]] = {}

    @functools.cached_property
    def steps(self) -> int | None:
        """The calls whose gradients are averaged for what is trained, where a step may wait.

        None where each call is an update, or not all that is trained is averaged so.
        """
        if not self.calls.may_wait:
            return None
        found = {one.of_mean for one in self.of_any().values()} or {None}
        steps = found.pop()
        return steps if not found and steps != 1 else None

    def of(self, most: int) -> Mapping[Key, Accumulated]:
        """Per trained variable, by key; updates of more than `most` calls are not waited for."""
        if most not in self._known:
            self._known[most] = self._found(most)
        return self._known[most]

    def of_any(self) -> Mapping[Key, Accumulated]:
        """The same where it is not known how many calls there may be to an update."""
        return self.of(_MOST_CALLS)

    def sums(self, key: Key) -> frozenset[Tensor]:
        """Where the gradients of several calls are added up for one update: their sums."""
        if self.step.replicas > 1 or not self.calls.may_wait:
            return frozenset()
        found = self.of_any().get(key)
        return frozenset() if found is None else found.sums

    def adds_up_after(self, node: int, update: Update) -> bool:
        """Whether what a node makes of one call's gradient waits to be added to that of others.

        What an optimizer at hand keeps is its own affair.
        """
        if self.steps is None:
            return False
        above = reached([update.node.index], self.flow.sources)
        if node in above:
            return False
        read = {v.key for one, v in self.flat.reads() if one.index in above}
        below = reached([node], self.flow.users)
        waits = {v.key for one, v in self.flat.writes() if one.index in below} & read
        own = {key_of(v) for optimizer in self.step.optimizers for v in optimizer.variables}
        return not waits <= own

    @functools.cached_property
    def ops(self) -> frozenset[int]:
        """The ops that add a call's gradients to what waits for an update, and that empty that.

        Where a step always writes what it keeps, and chooses by numbers, there are none.
        """
        if self.steps is None:
            return frozenset()
        places = [u.node.path for updates in self.calls.updates.values() for u in updates]
        writes = [(node, v.key) for node, v in self.flat.writes() if not self.flow.is_trainable(v)]
        waiting = {
            key
            for node, key in writes
            if node.index in self.flow.backward
            and not any(path and node.path[: len(path)] == path for path in places)
        }
        kept = {node.index for node, v in self.flat.reads() if v.key in waiting}
        found = {node.index for node, key in writes if key in waiting}
        for node in reversed(self.flat.nodes):
            users = self.flow.consumers[node.index]
            if users and found.issuperset(users) and kept & {source for source, _ in node.data}:
                found.add(node.index)  # a sum that is assigned
        return frozenset(found)

    def path(self, key: Key) -> str:
        return self.step.paths[key]

    def passes(self, key: Key) -> int:
        """How many backward passes of one call are added up for a variable; 0: those of a loop."""
        starts = [tensor[0] for tensor in self.calls.starts.get(key, ())]
        above = self.flow.ancestors(starts or [u.node.index for u in self.calls.updates[key]])
        nodes = [self.flat.nodes[seed.node] for seed in self.flow.seeds if seed.node in above]
        own = self.flat.loops(self.calls.updates[key][0].node.path)
        return 0 if any(self.flat.loops(node.path) != own for node in nodes) else len(nodes)

    def _found(self, most: int) -> dict[Key, Accumulated]:
        if self.step.replicas > 1:
            why = "the step runs on several replicas: assert on the function that runs on one"
            return {key: Accumulated(unknown=why) for key in self.calls.updates}
        found = self._with(1, most)
        if any(one.of_mean is None for one in found.values()):
            other = self._with(-1, most)
            found = {k: one if other[k].of_mean is None else other[k] for k, one in found.items()}
        return found

    def _with(self, sign: int, most: int) -> dict[Key, Accumulated]:
        """With gradients that are all of one sign."""
        why = ""
        first = Shapes(None if self.calls.observed.is_small else Shapes().length)
        for shapes in dict.fromkeys((first, Shapes(None), Shapes())):
            try:
                return self._told(shapes, self._made(shapes, sign, most))
            except NoValueError as error:
                why = why or str(error)
        return {key: Accumulated(unknown=why) for key in self.calls.updates}

    def _made(self, shapes: Shapes, sign: int, most: int) -> list[Call]:
        """As many calls as it takes to see each variable updated often enough, or given up."""
        made, left = list[Call](), dict.fromkeys(self.calls.updates, _UPDATES)
        last = dict.fromkeys(left, -1)
        for number, call in enumerate(self.calls.made(shapes, sign)):
            made.append(call)
            for key in call.changed & left.keys():
                left[key], last[key] = left[key] - 1, number
            if all(n <= 0 or number - last[key] > most for key, n in left.items()):
                break
        return made

    def _told(self, shapes: Shapes, calls: Sequence[Call]) -> dict[Key, Accumulated]:
        found: dict[Key, Accumulated] = {}
        updated: dict[Key, Updated] = {}
        for key, (update, *others) in self.calls.updates.items():
            at = [number for number, call in enumerate(calls) if key in call.changed][:_UPDATES]
            between = tuple(int(n) for n in np.diff(at))
            if others:
                found[key] = Accumulated(unknown="it is updated in several places of the step")
            elif key not in self.calls.starts:
                found[key] = Accumulated(unknown="several gradients are added up in its update")
            elif len(at) < _UPDATES:
                often = (
                    f"{len(at)} updates" if len(at) > 1 else ("one update" if at else "no update")
                )
                found[key] = Accumulated(told=f"{often} in {len(calls)} calls")
            else:
                found[key] = Accumulated(between)
                if len(set(between)) == 1:
                    sums = self._sums(key, update, [calls[n] for n in at[1:]], at, calls)
                    updated[key] = Updated(update, (*at,), (*sums,))
        entries = Entries(self.calls, shapes, calls, updated)
        for key, one in updated.items():
            told = entries.told(key)
            if any(key in call.drifted for call in calls[one.at[0] : one.at[-1]]):
                told = f"{told or _MEAN}; and {_BETWEEN}"
            alike = frozenset(each.tensor for each in one.sums if each.since is not None)
            found[key] = dataclasses.replace(found[key], told=told, sums=alike)
        return found

    def _sums(
        self,
        key: Key,
        update: Update,
        updating: Sequence[Call],
        at: Sequence[int],
        calls: Sequence[Call],
    ) -> Iterator[GradientSum]:
        """The sums of gradients on the way to an update; two of them are looked at together."""
        period = at[1] - at[0]
        columns: dict[object, list[Array]] = {}
        for start in self.calls.starts[key]:
            columns[start] = [
                np.concatenate([calls[n - period + i].gradients[start].reshape(-1) for n in at[1:]])
                for i in range(period + 1)
            ]
        for tensor in self.calls.passed(update):
            try:
                value = np.concatenate([call.value(tensor) for call in updating])
            except NoValueError:
                continue
            for start in self.calls.starts[key]:
                if len(columns[start][0]) == len(value):
                    found = gradient_sum(tensor, value, columns[start])
                    if found is not None:
                        yield found
                        break
