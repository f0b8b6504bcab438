"""A part of a step and a function of its arguments, evaluated with the same.

With what the step is handed, what variables hold when the step reads them, and random numbers,
paired by what is drawn and in which order.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from verify.find.drawn_numbers import shape_drawn
from verify.find.gradient_values import GradientValues
from verify.find.step_feeds import probabilities
from verify.graphs import FlatGraph, Node, Tensor, VariableRef, draws, is_stateful
from verify.match import Evaluation, NoValueError, Paired, Plan

_MOST_ORDERS = 24  # in which random numbers are paired


Both = Callable[[int], tuple[Evaluation, Evaluation]]
"""By draw, the step and the function, evaluated."""


class Pass:
    """A part of a step, and a function of the step's arguments that it is held against.

    Args:
        step: what evaluates it.
        other: the function, which takes all that the step is handed.
        above: the nodes that this part depends on.
        begins: the node that what it does not read itself is read at.
    """

    def __init__(
        self, step: GradientValues, other: FlatGraph, above: set[int], begins: int
    ) -> None:
        self.evaluated, self.step, self.flat = step, step.step, step.flat
        self.other = other
        self._plan = Plan(other)
        read = (node for node, _ in self.flat.reads() if node.index in above)
        self.first_read: dict[int | str, Node] = {}
        for node in read:
            variable = self.flat.variable(node)
            assert variable is not None  # it is read
            self.first_read.setdefault(variable.key, node)
        self.variables = {variable.key: variable for variable in self.flat.variables.values()}
        self.begins = self.flat.nodes[begins]
        self._draws = [n for n in self.flat.nodes if n.index in above and _is_fed(n)]

    def evaluations(self) -> Iterator[Both]:
        """Each way of feeding both alike, the likeliest first."""
        for at_first in (False, True) if self._is_moved else (False,):
            for pairs in self._pairings():
                yield functools.partial(self._both, pairs, at_first)

    def _both(
        self, pairs: Mapping[int, Node], at_first: bool, draw: int
    ) -> tuple[Evaluation, Evaluation]:
        """`at_first`: whether variables are as before the step, not as when they are read."""
        here = self.evaluated.evaluation(draw, rows=self._rows)
        return here, Evaluation(self._plan, _Function(self, here, pairs, at_first, draw))

    @functools.cached_property
    def _rows(self) -> frozenset[Tensor]:
        """The arguments of the step that the function takes as probabilities."""
        arguments = self.step.arguments
        handed = () if arguments is None else arguments.tensors
        pairs = zip(self.other.arguments, handed, strict=True)
        own = {(index, 0): tensor for index, tensor in pairs if tensor is not None}
        return frozenset(own[tensor] for tensor in probabilities(self.other, own))

    @property
    def _is_moved(self) -> bool:
        """Whether the step writes a variable before it is read."""
        return any(
            variable.key in self.first_read and node.index < self.first_read[variable.key].index
            for node, variable in self.flat.writes()
        )

    def _pairings(self) -> Iterator[dict[int, Node]]:
        """Which random op of the step stands for each of the function; the likeliest first."""
        groups = _by_kind(self._draws)
        own = _by_kind(node for node in self.other.nodes if _is_fed(node))
        kinds = [kind for kind in own if kind in groups]
        choices = (itertools.permutations(groups[kind]) for kind in kinds)
        for orders in itertools.islice(itertools.product(*choices), _MOST_ORDERS):
            yield {
                node.index: partner
                for kind, order in zip(kinds, orders, strict=True)
                for node, partner in zip(own[kind], order, strict=False)
            }


def _is_fed(node: Node) -> bool:
    """Whether an op draws other numbers each time; what it makes of a seed is computed."""
    return draws(node.op) and is_stateful(node.op)


def _by_kind(nodes: Iterable[Node]) -> dict[tuple[str, str], list[Node]]:
    """Random ops by what they draw: those of one kind may stand for one another."""
    found: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        ranks = [None if shape is None else len(shape) for shape in node.shapes]
        found.setdefault((node.op, f"{node.dtypes} {ranks}"), []).append(node)
    return found


class _Function(Paired):
    """Feeds a function with what a part of the step is fed."""

    def __init__(
        self,
        own: Pass,
        here: Evaluation,
        pairs: Mapping[int, Node],
        at_first: bool,
        draw: int,
    ) -> None:
        super().__init__(own.other, {}, draw)
        self.own, self.here, self.pairs, self.at_first = own, here, pairs, at_first
        self._numbers = {index: i for i, index in enumerate(own.other.arguments)}

    def variable(self, variable: VariableRef) -> Any:
        used = self.own.variables.get(variable.key)
        if used is None:
            spec = variable.shape, variable.dtype
            return tf.constant(self._weights(spec, variable.path))
        if self.at_first:
            return self.here.feed.variable(used)
        return self.here.final(used, self.own.first_read.get(variable.key, self.own.begins))

    def argument(self, node: Node, output: int) -> Any:
        arguments = self.own.step.arguments
        assert arguments is not None  # the function was traced on them
        tensor = arguments.tensors[self._numbers[node.index]]
        if tensor is None:
            raise NoValueError("an argument that this branch does not use is used by the function")
        return self.here.value(tensor)

    def drawn(self, node: Node, inputs: Sequence[Any], turn: tuple[int, ...]) -> Sequence[Any]:
        partner = self.pairs.get(node.index)
        if partner is None:
            raise NoValueError(f"it draws a random number that the step does not draw ({node.op})")
        if turn or self.here.plan.loops_around(partner.path):  # a value for each turn
            numbers = self.here.feed.drawn(partner, inputs, turn)
        else:
            numbers = [self.here.value((partner.index, i)) for i in range(len(partner.dtypes))]
        own = shape_drawn(node, inputs)
        for shape, fed in zip(node.shapes, numbers, strict=True):
            wanted = shape if own is None else own
            if not tf.TensorShape(wanted).is_compatible_with(fed.shape):
                raise NoValueError(
                    f"it draws random numbers of shape {wanted}, the step of {(*fed.shape,)}"
                )
        return numbers
