"""A step that is called again and again: what it keeps between the calls, and makes of that.

Gradients are fed where backpropagation ends, others in each call, and small, so that bounds leave
them alone. What the step keeps and what decides its updates (sums of gradients, counters, flags) is
handed on from call to call; nothing else is evaluated. Numbers begin as they are now, all else is
drawn.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.observed import Array, Held, Observed
from verify.find.one_call import Call
from verify.find.shapes import Shapes
from verify.find.single_writes import Key, SingleWrites
from verify.flow import REAL, Update, reached, ways
from verify.graphs import Node, Tensor, VariableRef, is_stateful
from verify.match import Domain, Evaluation, NoValueError, drawn

_SMALL = 1e-3  # gradients: clips of the usual bounds leave such as they are
_DEPTH = 6  # of ops that two branches have each for itself
_DRAW = 2  # of what is kept before the first call
# Of a variable's values: Keras' constraints make less of what they have been made of before, by a
# small number that they add to a norm; its decays more, of 4e-6 by default.
_DRIFT = 1e-6


class Calls:
    """The calls of one step, or of one branch of it."""

    def __init__(self, observed: Observed, writes: SingleWrites) -> None:
        self.observed, self.step, self.flow = observed, observed.step, observed.flow
        self.flat, self.writes = observed.flat, writes

    # -- what gradients reach, in this call or in a later one --------------------------------------

    @functools.cached_property
    def reached(self) -> set[int]:
        """The nodes that a gradient decides, of this call or of one before."""
        return reached([seed.node for seed in self.flow.seeds], self._users)

    @functools.cached_property
    def _users(self) -> list[tuple[int, ...]]:
        """What uses what, from call to call by way of what a step keeps."""
        users = [*self.flow.consumers]
        kept: dict[Key, list[int]] = {}
        for node, variable in self.flat.reads():
            if not self.flow.is_trainable(variable):
                kept.setdefault(variable.key, []).append(node.index)
        for node, variable in self.flat.writes():
            if self.flow.inside(node):
                users[node.index] = (*users[node.index], *kept.get(variable.key, ()))
        return users

    @functools.cached_property
    def updates(self) -> dict[Key, list[Update]]:
        """The updates by a gradient of each variable, by key: of this call or of one before."""
        found: dict[Key, list[Update]] = {}
        for update in self.flow.updates:
            trained = update in self.flow.trained_of.get(update.variable.key, ())
            late = update.node.index in self.reached - self.flow.backward
            if trained or (late and update not in self.flow.lost):
                found.setdefault(update.variable.key, []).append(update)
        return found

    @functools.cached_property
    def starts(self) -> dict[Key, tuple[Tensor, ...]]:
        """What backpropagation ends in, for each of these variables: one of these tensors."""
        found: dict[Key, tuple[Tensor, ...]] = {
            key: (way[0],) for key, way in self.observed.ways.items() if key in self.updates
        }
        late = [key for key in self.updates if key not in self.flow.trained_of]
        if not late or self.step.replicas > 1:
            return found
        shapes = {self.updates[key][0].variable.shape for key in late}
        sums = [
            Update(node, variable)
            for node, variable in self.flat.writes()
            if node.index in self.flow.backward
            and self.flow.inside(node)
            and not self.flow.is_trainable(variable)
            and variable.shape in shapes
            and variable.dtype in REAL
        ]
        for update, way in ways(self.flow, sums):
            below = reached([update.node.index], self._users)
            for key in late:
                written = self.updates[key][0]
                if written.variable.shape == update.variable.shape and written.node.index in below:
                    found[key] = tuple(dict.fromkeys((*found.get(key, ()), way[0])))
        return found

    @functools.cached_property
    def _again(self) -> dict[Tensor, tuple[Tensor, ...]]:
        """Where branches end backpropagation each for itself: the same in the other ones."""
        found: dict[Tensor, tuple[Tensor, ...]] = {}
        for tensor in (tensor for starts in self.starts.values() for tensor in starts):
            node = self.flat.node(tensor)
            others = self.flow.matcher.by_op.get(node.op, ()) if node.path else ()
            same = ((i, tensor[1]) for i in others if i != node.index)
            found[tensor] = tuple(other for other in same if self._is_same(tensor, other))
        return found

    def _is_same(self, one: Tensor, other: Tensor, depth: int = _DEPTH) -> bool:
        """Whether two tensors are computed by the same ops of the same ones."""
        one, other = self.flat.through(one), self.flat.through(other)
        if one == other:
            return True
        value, same = self.flow.folder.value(one), self.flow.folder.value(other)
        if value is not None and same is not None:
            return np.array_equal(value, same)
        a, b = self.flat.node(one), self.flat.node(other)
        alike = a.op == b.op and one[1] == other[1] and len(a.data) == len(b.data) > 0
        if not alike or not depth or is_stateful(a.op) or self.flat.variable(a) is not None:
            return False
        settings = [{k: v for k, v in n.attrs.items() if k[0] != "_"} for n in (a, b)]
        pairs = zip(a.data, b.data, strict=True)
        return settings[0] == settings[1] and all(self._is_same(*pair, depth - 1) for pair in pairs)

    @functools.cached_property
    def _begun(self) -> frozenset[int]:
        return frozenset(t[0] for one, again in self._again.items() for t in (one, *again))

    def passed(self, update: Update) -> Iterator[Tensor]:
        """The tensors that may be as large as a variable, on the way of its gradients to its write.

        In the order of the graph, of this call or of one before.
        """
        size = math.prod(n or 1 for n in update.variable.shape)
        above = self.flow.ancestors([update.node.index], without=self._begun)
        begun = {i for i in self._begun if not above.isdisjoint(self.flow.consumers[i])}
        loops = self.flat.loops(update.node.path)
        below = reached(self._begun, self._users)
        for index in sorted(above & below | begun):
            node = self.flat.nodes[index]
            if node.dtypes[:1] and node.dtypes[0] in REAL and self.flat.loops(node.path) == loops:
                shape = self.flat.shape((index, 0))
                sizes = [] if shape is None else [n for n in shape if n is not None]
                if shape is None or len(sizes) < len(shape) or math.prod(sizes) == size:
                    yield index, 0

    @functools.cached_property
    def scales(self) -> dict[Key, tuple[float, ...]]:
        """By key, numbers that a loss is multiplied by when it is differentiated, and one."""
        evaluation = Evaluation(self.observed.plan, self.feed(Shapes(None), {}))
        seeds = {seed.node for seed in self.flow.seeds}
        # What data or weights decide is no number of the loss.
        decided = self.flow.of_data | self.flow.of_weights
        found: dict[Key, tuple[float, ...]] = {}
        for key, starts in self.starts.items():
            above = self.flow.ancestors(tensor[0] for tensor in starts)
            nodes = self.flow.descendants(seeds & above, without=decided) & above
            scales = [1.0]
            for index in sorted(nodes):
                if self.flat.shape((index, 0)) == ():
                    with contextlib.suppress(NoValueError):
                        scales.append(abs(float(evaluation.value((index, 0)))))
            found[key] = tuple(scale for scale in dict.fromkeys(scales) if scale)
        return found

    # -- what is handed on from call to call -------------------------------------------------------

    @functools.cached_property
    def kept(self) -> dict[Key, VariableRef]:
        """What decides these updates and is written by the step, by key."""
        found: dict[Key, VariableRef] = {}
        pending = [u.variable for updates in self.updates.values() for u in updates]
        while pending:
            variable = pending.pop()
            if variable.key in found:
                continue
            found[variable.key] = variable
            for node, _ in self.writes.by_key.get(variable.key, ()):
                pending += self._read(node)
        return found

    def _read(self, write: Node) -> list[VariableRef]:
        """The variables of the step's own that decide a write, and whether it is made."""
        chosen = [guard.predicate[0] for guard, _ in self.flat.choices(write.path)]
        above = self.flow.ancestors([write.index, *chosen], without=self._begun)
        read = (v for node, v in self.flat.reads() if node.index in above)
        return [v for v in read if v.key in self.writes.by_key]

    @functools.cached_property
    def may_wait(self) -> bool:
        """Whether an update may be left out in one call, and be made up for in a later one.

        Such a step keeps gradients where it does not update what they are of, or chooses by what it
        keeps between an update and none.
        """
        if not self.updates.keys() <= self.flow.trained_of.keys():
            return True
        updates = [update for some in self.updates.values() for update in some]
        shapes: dict[tuple[int | None, ...], set[object]] = {}
        for update in updates:
            shapes.setdefault(update.variable.shape, set()).add(self._choices(update.node))
        above = self.flow.ancestors([u.node.index for u in updates], without=self._begun)
        read = {v.key for node, v in self.flat.reads() if node.index in above}
        for node, variable in self.flat.writes():
            where = shapes.get(variable.shape, ())
            waits = variable.key in read and not self.flow.is_trainable(variable) and where
            if waits and node.index in self.flow.backward and self._choices(node) not in where:
                return True
        begun = [tensor for starts in self.starts.values() for tensor in starts]
        given = [tensor for update in updates for tensor in self.writes.given(update.node)]
        deciding = [index for index, _ in self.writes.deciding(given, begun)]
        above = self.flow.ancestors(deciding, without=self._begun)
        read = {v.key for node, v in self.flat.reads() if node.index in above}
        return not read.isdisjoint(self.writes.by_key)

    def _choices(self, node: Node) -> frozenset[tuple[Tensor, int]]:
        """The open choices by which a node is run."""
        folder = self.flow.folder
        return frozenset(
            (self.flat.through(guard.predicate), position)
            for guard, position in self.flat.choices(node.path)
            if folder.value(guard.predicate) is None
        )

    # -- the calls ---------------------------------------------------------------------------------

    def made(self, shapes: Shapes, sign: int) -> Iterator[Call]:
        """One call after the other, without end.

        Args:
            sign: of all gradients: bounds may let numbers of one sign alone through.

        Raises:
            NoValueError: what a call leaves can't be computed here.
        """
        first = _Kept(self, shapes, {})
        state = {key: _array(first.variable(variable)) for key, variable in self.kept.items()}
        cut = dict(self._always)
        number = 0
        while True:
            gradients = dict(self._gradients(number, shapes, sign))
            fed = {
                tensor: tf.constant(one)
                for t, one in gradients.items()
                for tensor in (t, *self._again[t])
            }
            fed = {**cut, **self._rows(shapes), **fed}
            evaluation = Evaluation(self.observed.plan, _Kept(self, shapes, state), fed)
            after = {
                key: _as_kept(evaluation.final(variable), state[key], variable)
                for key, variable in self.kept.items()
            }
            changed = frozenset(k for k in state if not np.array_equal(state[k], after[k]))
            # What a constraint does to a variable in each call is no update.
            idle = {k for k in changed & self.updates.keys() if not self._is_updated(evaluation, k)}
            left = {**state, **{key: after[key] for key in idle}}
            drifted = self._drifted(idle, _Kept(self, shapes, left), fed)
            changed -= idle
            updated = not changed.isdisjoint(self.updates)
            kept = (state, evaluation) if updated else ({}, None)
            yield Call(gradients, changed, drifted, *kept)
            state, number = after, number + 1

    def _drifted(
        self, idle: Iterable[Key], left: _Kept, fed: Mapping[Tensor, Any]
    ) -> frozenset[Key]:
        """Those of variables that the same call changes once more, beginning with what it left."""
        if not idle:
            return frozenset()
        again = Evaluation(self.observed.plan, left, fed)
        found = set[Key]()
        for key in idle:
            before = left.state[key]
            after = _as_kept(again.final(self.kept[key]), before, self.kept[key])
            if np.abs(after - before).max() > _DRIFT * np.abs(before).max():
                found.add(key)
        return frozenset(found)

    def _is_updated(self, evaluation: Evaluation, key: Key) -> bool:
        """Whether a variable is changed by the write that its gradient decides."""
        for update in self.updates[key]:
            before = evaluation.final(update.variable, update.node)
            if evaluation.was_at(update.node.path):
                after = self.writes.after(update.node, before, evaluation)
                if not np.array_equal(np.asarray(before), after):
                    return True
        return False

    def feed(self, shapes: Shapes, state: Mapping[Key, Array]) -> Held:
        """Feeds what is kept, as it is between two calls."""
        return _Kept(self, shapes, state)

    @functools.cached_property
    def _always(self) -> dict[Tensor, object]:
        """What chooses the branch that is looked at, cut so that it does."""
        cut: dict[Tensor, object] = {}
        for guard, position in self.flat.choices(self.flow.region):
            if self.flat.dtype(guard.predicate) == tf.bool:
                cut[guard.predicate] = tf.constant(position == 0)
            else:
                cut[guard.predicate] = tf.constant(position, self.flat.dtype(guard.predicate))
        return cut

    def _gradients(self, number: int, shapes: Shapes, sign: int) -> Iterator[tuple[Tensor, Array]]:
        for key, starts in self.starts.items():
            own = self.updates[key][0].variable.shape
            for tensor in starts:
                fed = self.flat.shape(tensor)
                whole = key in self.observed.rows or tf.TensorShape(fed).is_compatible_with(own)
                shape = shapes.of(own) if whole else fed
                if shape is None or None in shape:
                    raise NoValueError(f"{self.flat.node(tensor).id} can't be fed in another shape")
                name = f"{self.flat.node(tensor).id}:{number}"
                size = sign * _SMALL * max(self.scales[key])
                yield tensor, drawn((shape, "float64"), Domain.UNIT, 0, name) * size

    def _rows(self, shapes: Shapes) -> dict[Tensor, object]:
        """Of what consists of rows: all of a table, each once."""
        return dict(self.observed.each_row_once(shapes)) if self.observed.rows else {}


class _Kept(Held):
    """Feeds what a step keeps: what the call before has left, or what there is at first."""

    def __init__(self, calls: Calls, shapes: Shapes, state: Mapping[Key, Array]) -> None:
        super().__init__(calls.observed, _DRAW, shapes)
        self.state, self.trained = state, calls.updates.keys()

    def variable(self, variable: VariableRef) -> object:
        if variable.key in self.state:
            return tf.constant(self.state[variable.key])
        numbers, dtype = self.observed.step.numbers, tf.as_dtype(variable.dtype)
        known = variable.key in numbers or not dtype.is_floating
        if known and variable.shape == () and variable.key not in self.trained:
            return tf.cast(tf.constant(numbers.get(variable.key, 0.0), tf.float64), dtype)
        value = super().variable(variable)
        if dtype.is_floating and variable.key not in self.trained:
            # As small as gradients: what an optimizer keeps of them must not outweigh them.
            return value * tf.cast(_SMALL, value.dtype)
        return value


def _array(value: object) -> Array:
    found: Array = np.asarray(value.numpy() if isinstance(value, tf.Tensor) else value)
    return (
        found.astype(np.float64)
        if found.dtype.kind == "f" or found.dtype.name == "bfloat16"
        else found
    )


def _as_kept(value: object, before: Array, variable: VariableRef) -> Array:
    """What a variable holds after a call, in the shape that it is fed in.

    Zeros of its whole shape are such of one that it is cut down to.
    """
    found = _array(value)
    if found.shape == before.shape:
        return found
    if found.size and (found == found.reshape(-1)[0]).all():
        return np.full(before.shape, found.reshape(-1)[0], found.dtype)
    raise NoValueError(f"{variable.path} can't be fed in another shape")
