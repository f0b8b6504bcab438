"""What a step makes of gradients, in several draws: on their way, and in what is written.

What backpropagation ends in is cut and fed, so that neither the model nor its losses are evaluated;
so is what the step reads: weights, what an optimizer keeps, counts of steps. Numbers such as a
learning rate are what they are now, where that is known.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from verify.find.branch_counts import COUNTS, counts_fed
from verify.find.fed_rows import FedRows
from verify.find.shapes import LENGTH, Shapes
from verify.flow import Flow, Programs, Rows, Update, are_rows, rows_of, ways
from verify.graphs import Node, Tensor, VariableRef, exclusive
from verify.match import Domain, Drawn, Evaluation, Made, NoValueError, Plan, drawn
from verify.references import optimizer_state
from verify.step import Step

T = TypeVar("T")
Array = np.ndarray[Any, Any]

# Gradients that clips of any bounds leave alone, and such that all of them bind.
SPREADS = (1.0, 1e9, 1e-2, 1e3, 1e7, 1e-3, 0.3, 0.1)
_SIGNS = (-1, 1, 1, 1, -1, -1, 1, -1)
# Of these draws, gradients are as large when a loss scale has divided them: clips come after that.
_SCALED = (0, 6, 7)
# What an optimizer keeps, once so small that what it adds to a root decides.
_KEPT = (1.0, 1.0, 1e-8, 1.0, 1.0, 1.0, 1.0, 1.0)
DRAWS = len(SPREADS)
_MOST = 1 << 20  # elements of a variable that is fed whole
_MOST_ELEMENTS = 1 << 18  # of all variables of a step that is evaluated as a whole
_MOST_OPS = 4000


class Held(Drawn):
    """Feeds what a step reads with what it may hold between two steps.

    Args:
        observed: the step; what it trains is drawn, numbers besides are what they are now.
        draw: which one of several draws.
        shapes: what shapes are cut down to.
        sooner: by how many steps the counts are ahead.
    """

    def __init__(self, observed: Observed, draw: int, shapes: Shapes, sooner: int = 0) -> None:
        super().__init__(draw)
        self.observed, self.shapes, self.sooner = observed, shapes, sooner

    def variable(self, variable: VariableRef) -> Any:
        dtype = tf.as_dtype(variable.dtype)
        step = self.observed.step
        name, trained = step.paths.get(variable.key, variable.path), self.observed.flow.trained_of
        if variable.shape == () and variable.key not in trained:
            counts = self.observed.counts.get(variable.key, self.observed.usual)
            if dtype.is_integer:
                return tf.constant((counts[self.draw] + self.sooner) % (dtype.max + 1), dtype)
            if variable.key in self.observed.counted:
                return tf.constant(counts[self.draw] + self.sooner, dtype)
            if dtype.is_floating and variable.key in step.numbers:
                return tf.constant(step.numbers[variable.key], dtype)
        spec = self.shapes.of(variable.shape), variable.dtype
        if math.prod(n or 1 for n in spec[0]) > _MOST:
            raise NoValueError(f"{variable.path} is too large to be drawn")
        if dtype.is_floating and not self.observed.flow.is_trainable(variable):
            # Such that a variance is one: greater than the square of a mean.
            kept = drawn((spec[0], "float64"), Domain.UNIT, self.draw, name)
            return tf.constant((0.5 + 0.2 * kept) * _KEPT[self.draw], dtype)
        if not dtype.is_floating:
            return tf.constant(drawn(spec, Domain.CLASSES, self.draw, name))
        return tf.constant(self._weights(spec, name))


class Observed:
    """Values of one step, or of one branch of it, in several draws of its gradients.

    `plan`: of evaluating it. `ways`: per trained variable that has one update, by key, what its
    gradient passes. `usual`: how many steps were made before each draw, where no branch depends
    on that.
    """

    def __init__(self, step: Step, flow: Flow, usual: tuple[int, ...] = COUNTS) -> None:
        self.step, self.flow, self.flat, self.usual = step, flow, step.flat, usual
        self.plan = Plan(self.flat)
        self._evaluations: dict[tuple[int, Shapes], Evaluation] = {}
        self._rows: dict[Tensor, Rows | None] = {}

    def remembered(self, of: Any, make: Callable[[], T]) -> T:
        """What values have told of the step's updates, while all that decides it is as it was."""
        about = of, self.flow.region, self.step.trainable
        return self.flat.remembered(about, self._situation, make)

    def _told_by_graph(self, of: str, make: Callable[[], T]) -> T:
        """What the graph alone has told of the step's updates."""
        about = of, self.flow.region, self.step.trainable
        return self.flat.remembered(about, self.step.replicas, make)

    @functools.cached_property
    def _situation(self) -> tuple[Any, ...]:
        """What decides, besides the graph, how its updates are made."""
        optimizers = tuple(optimizer_state(one) for one in self.step.optimizers)
        return dict(self.step.numbers), optimizers

    @functools.cached_property
    def updates(self) -> dict[int | str, Update]:
        """The only update by a gradient of each variable, by key, where there is only one.

        What is written elsewhere in the step, out of the branch that is looked at, is another one.
        """
        elsewhere: dict[int | str, list[Node]] = {}
        for node, variable in self.flat.writes():
            if not self.flow.inside(node):
                elsewhere.setdefault(variable.key, []).append(node)
        return {
            key: update
            for key, (update, *others) in self.flow.trained_of.items()
            if not others
            and all(exclusive(n.path, update.node.path) for n in elsewhere.get(key, ()))
        }

    @functools.cached_property
    def counts(self) -> dict[int | str, tuple[int, ...]]:
        """The counts that are fed, by key, where a branch that trains is at few numbers alone."""
        return counts_fed(self.flow, self.plan)

    @functools.cached_property
    def counted(self) -> frozenset[int | str]:
        """The keys of real numbers that the step counts by: one is added, and nothing else."""
        added: dict[int | str, list[bool]] = {}
        for node, variable in self.flat.writes():
            if variable.shape == () and variable.dtype in ("float32", "float64"):
                one = self.flow.folder.value(node.data[1]) if len(node.data) > 1 else None
                is_one = one is not None and one.size == 1 and float(one.reshape(())) == 1.0
                counts = node.op == "AssignAddVariableOp" and is_one
                added.setdefault(variable.key, []).append(counts)
        return frozenset(key for key, counts in added.items() if all(counts))

    @functools.cached_property
    def is_small(self) -> bool:
        """Whether a step is small enough to be evaluated as a whole."""
        shapes = (v.shape for v in self.step.variables)
        elements = sum(math.prod(n or 1 for n in shape) for shape in shapes)
        return elements <= _MOST_ELEMENTS and len(self.flat.nodes) <= _MOST_OPS

    def knows(self, update: Update) -> bool:
        """Whether an update is the only one of its variable."""
        known = self.updates.get(update.variable.key)
        # A part of a step may have a node of its own in the place of another.
        return known is not None and known.node.index == update.node.index

    @functools.cached_property
    def ways(self) -> dict[int | str, tuple[Tensor, ...]]:
        return self._told_by_graph("ways", self._ways)

    def _ways(self) -> dict[int | str, tuple[Tensor, ...]]:
        if self.step.replicas > 1:
            return {}
        found: dict[int | str, tuple[Tensor, ...]] = {}
        numbers: dict[Tensor, int | None] = {}
        for update, way in ways(self.flow, self.updates.values()):
            rows, count = self.rows_of(update, way[0]), update.variable.shape[:1]
            mine = dict.fromkeys(() if rows is None else rows.numbers, count[0] if count else None)
            # Of two tables of other sizes, the same rows can't be all.
            if all(numbers.get(tensor, size) == size for tensor, size in mine.items()):
                found[update.variable.key] = way
                numbers |= mine
        return found

    def rows_of(self, update: Update, gradient: Tensor) -> Rows | None:
        """Where the rows go that a gradient consists of; None of one that does not."""
        if update.variable.key not in self.flow.tables:
            return None
        if gradient not in self._rows:
            self._rows[gradient] = rows_of(self.flow, gradient, self.flow.placing)
        return self._rows[gradient]

    @functools.cached_property
    def rows(self) -> dict[int | str, Rows]:
        """Where the gradient of a variable consists of rows: where they go."""
        found = {key: self.rows_of(self.updates[key], way[0]) for key, way in self.ways.items()}
        return {key: rows for key, rows in found.items() if rows is not None}

    @functools.cached_property
    def fed_rows(self) -> FedRows:
        """As which rows these gradients are fed."""
        return FedRows(self.flat, self.rows, {k: self.updates[k].variable.shape for k in self.rows})

    @functools.cached_property
    def _numbers(self) -> dict[Tensor, bool]:
        """The numbers of rows, and whether no two are the same."""
        return {tensor: rows.differ for rows in self.rows.values() for tensor in rows.numbers}

    @functools.cached_property
    def alike(self) -> dict[int | str, list[int | str]]:
        """Variables that are updated by the same ops, by the one of them that stands for all."""
        return self._told_by_graph("alike", self._alike)

    def _alike(self) -> dict[int | str, list[int | str]]:
        starts = {key: way[0] for key, way in self.ways.items()}
        programs = Programs(self.flow, starts, rows=self._numbers)
        groups: dict[tuple[bytes, int], list[int | str]] = {}
        for key, way in self.ways.items():
            digest = programs.of(self.updates[key].variable)
            groups.setdefault((digest, len(way)), []).append(key)
        return {keys[0]: keys for keys in groups.values()}

    @functools.cached_property
    def stands_for(self) -> dict[int | str, int | str]:
        """By key of a variable that is updated by the same ops as another: the one looked at."""
        return {key: one for one, keys in self.alike.items() for key in keys if key != one}

    @functools.cached_property
    def programs(self) -> dict[int | str, bytes]:
        """What tells the update of a variable from others, in any step, where something does."""
        starts = {key: way[0] for key, way in self.ways.items()}
        programs = Programs(self.flow, starts, self.step.numbers, self._numbers)
        digests = {key: programs.anywhere(self.updates[key].variable) for key in self.alike}
        return {key: digest for key, digest in digests.items() if digest is not None}

    @functools.cached_property
    def shapes(self) -> tuple[Shapes, Shapes]:
        """What shapes are cut down to; and not at all, where an op does not take that."""
        others = frozenset(
            shape
            for key, way in self.ways.items()
            if key not in self.rows
            and {self.flat.shape(tensor) for tensor in way}
            != {shape := self.updates[key].variable.shape}
        )
        return Shapes(whole=others), Shapes(None)

    def between(self, key: int | str, tensor: Tensor) -> frozenset[int]:
        """The nodes by which what backpropagation ends in is made another tensor on its way."""
        return self.on_ways(self.ways[key][0][0], tensor[0])

    def on_ways(self, start: int, end: int) -> frozenset[int]:
        """The nodes on ways from what backpropagation ends in to another node."""
        above = self.flow.ancestors([end], without=self.flow.propagated) | {start}
        found, stack = {start}, [start]
        while stack:
            users = above.intersection(self.flow.consumers[stack.pop()]) - found
            found |= users
            stack += users
        return frozenset(found)

    def is_of_state(self, key: int | str, tensor: Tensor) -> bool:
        """Whether a tensor on the way was kept from steps before as well, such as a running sum."""
        return bool(self.state_of(key, tensor))

    def state_of(self, key: int | str, tensor: Tensor) -> frozenset[int | str]:
        """The keys of what was kept from steps before, and makes a tensor on the way."""
        between = (self.flat.nodes[index] for index in self.between(key, tensor))
        passed = (self.flat.variable(node) for node in between)
        read = self.read_between(self.ways[key][0], tensor[0])
        # Whole numbers are counts, or seeds of what is drawn.
        kept = (v for v in read if v.shape != () and not v.dtype.startswith(("int", "uint")))
        state = (v for v in kept if not self.flow.is_trainable(v))
        return frozenset(v.key for v in (*passed, *state) if v is not None)

    def begins_late(self, key: int | str) -> bool:
        """Whether the way of a gradient begins with what was kept from steps before."""
        flow = self.flow
        above = (flow.ancestors([self.ways[key][0][0]]) & flow.backward) - flow.propagated
        return any(self.flat.variable(self.flat.nodes[index]) is not None for index in above)

    def read_between(self, start: Tensor, end: int) -> list[VariableRef]:
        """The variables that decide what is made of a tensor of the backward pass, until a node."""
        flow, nodes = self.flow, self.flat.nodes
        between = self.on_ways(start[0], end)
        taken = {source for i in between - {start[0]} for source, _ in nodes[i].data}
        above = flow.ancestors(taken - flow.backward, without=flow.backward)
        read = (self.flat.variable(nodes[i]) for i in above)
        return [variable for variable in read if variable is not None]

    def is_by_element(self, key: int | str, tensor: Tensor) -> bool:
        """Whether a tensor on the way is made element by element, by no norm."""
        between = self.between(key, tensor) - self.flow.placing
        if key in self.rows:
            own = self.updates[key].variable.shape
            shapes = (self.flat.shape((i, 0)) for i in between)
            return all(shape == own or are_rows(shape, own) for shape in shapes)
        size = self._size(self.ways[key][0])
        return all(self._size((i, 0)) == size for i in between)

    def _size(self, tensor: Tensor) -> int:
        return math.prod(n or 1 for n in self.flat.shape(tensor) or ())

    def is_whole(self, key: int | str) -> bool:
        """Whether backpropagation ends in what begins the way of a gradient.

        It does not where that was put together of parts, say; rows that were looked up are together
        whatever they were joined of.
        """
        if key in self.rows:
            return True
        flow, begun = self.flow, self.ways[key][0]
        size = self._size(begun)
        made_of = (t for t in self.flat.node(begun).data if t[0] in flow.backward)
        left = (t for t in made_of if t[0] not in flow.propagated)
        return begun[0] in flow.propagated or all(self._size(one) == size for one in left)

    def start(self, key: int | str, draw: int, shapes: Shapes) -> Array:
        """What backpropagation ends in, for one variable."""
        tensor = self.ways[key][0]
        own = self.updates[key].variable.shape
        whole = key in self.rows or tf.TensorShape(self.flat.shape(tensor)).is_compatible_with(own)
        shape = shapes.of(own) if whole else self.flat.shape(tensor) or ()
        if key in self.rows:
            shape = len(self.fed_rows.numbers(key, shapes)), *shape[1:]
        if math.prod(n or 1 for n in shape) > _MOST:
            raise NoValueError(f"{self.flat.node(tensor).id} is too large to be drawn")
        name, spread = f"{self.step.paths.get(key, key)}:{draw}", SPREADS[draw]
        if draw in _SCALED:
            spread *= self._loss_scale
        if math.prod(n or 1 for n in shape) == 1:  # of both signs, for bounds of both
            return drawn((shape, "float64"), Domain.POSITIVE, 0, name) * spread * _SIGNS[draw]
        # Of as large a norm, however many elements there are: norms of both sides of a bound.
        many = max(1.0, math.sqrt(math.prod(n or 1 for n in shape)) / LENGTH)
        return drawn((shape, "float64"), Domain.REAL, 0, name) * spread / many

    @functools.cached_property
    def _loss_scale(self) -> float:
        """What a loss is multiplied by now, before it is differentiated; 1 where by nothing."""
        numbers = self.step.numbers
        return max(1.0, math.prod(numbers.get(key, 1.0) for key in self.flow.scales))

    def feed(self, draw: int, shapes: Shapes, sooner: int = 0) -> Held:
        return Held(self, draw, shapes, sooner)

    def evaluation(self, draw: int, shapes: Shapes) -> Evaluation:
        known = draw, shapes
        if known not in self._evaluations:
            cut = self._starts(draw, shapes)
            self._evaluations[known] = Evaluation(self.plan, self.feed(draw, shapes), cut)
        return self._evaluations[known]

    def starts(self, draw: int, shapes: Shapes) -> dict[Tensor, Any]:
        """What backpropagation ends in, cut."""
        return dict(self._starts(draw, shapes))

    def _starts(self, draw: int, shapes: Shapes) -> Made:
        def start(tensor: Tensor) -> Any:
            key, rows = self._fed[tensor]
            if rows is None:
                return tf.constant(self.start(key, draw, shapes))
            return self.fed_rows.cut(key, tensor, shapes)

        return Made(self._fed, start)

    def each_row_once(self, shapes: Shapes) -> dict[Tensor, Any]:
        """The numbers of rows, cut: all of a table and each once."""
        fed = ((t, key) for t, (key, rows) in self._fed.items() if rows is not None)
        return {t: self.fed_rows.cut(key, t, shapes, once=True) for t, key in fed}

    @functools.cached_property
    def _fed(self) -> dict[Tensor, tuple[int | str, Rows | None]]:
        """What is fed where backpropagation ends: by whose gradient it is, and of which rows."""
        fed: dict[Tensor, tuple[int | str, Rows | None]] = {
            way[0]: (key, None) for key, way in self.ways.items()
        }
        for key, rows in self.rows.items():
            fed |= dict.fromkeys((*rows.numbers, *rows.counts), (key, rows))
        return fed

    def of_held(self, tensor: Tensor, variable: VariableRef, shapes: Shapes) -> tuple[Any, Any]:
        """(a tensor that is made of a variable, what that holds), whatever was written before."""
        held = self.feed(0, shapes).variable(variable)
        reads = (node.index for node, read in self.flat.reads() if read.key == variable.key)
        cut = dict.fromkeys(((index, 0) for index in reads), held)
        return Evaluation(self.plan, self.feed(0, shapes), cut).value(tensor), held

    def is_made(self, update: Update, draw: int, shapes: Shapes) -> bool:
        """Whether the branches are taken, in one draw, that an update is in."""
        evaluation = self.evaluation(draw, shapes)
        evaluation.final(update.variable)
        return evaluation.was_at(update.node.path)
