"""What a step is fed to be evaluated as a whole: arguments and random numbers of one draw.

Labels that an op takes as probabilities are such: its gradient is another one for rows that do not
add up to one, and two spellings of a crossentropy differ there, where no step ever is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from verify.find.drawn_numbers import numbers_drawn
from verify.find.observed import Observed
from verify.graphs import RESHAPES, FlatGraph, Node, Tensor, VariableRef
from verify.match import Domain, NoValueError, Paired, drawn

# What arguments hold, draw by draw, and below what whole numbers are: labels of few classes, many.
FED = {
    0: (Domain.REAL, 2),
    1: (Domain.UNIT, 2),
    2: (Domain.REAL, 5),
    3: (Domain.UNIT, 10),
    4: (Domain.ROWS, 3),
    6: (Domain.REAL, 2),
    7: (Domain.REAL, 2),
    9: (Domain.UNIT, 2),
    10: (Domain.REAL, 2),
}
LATER = (7, 10, 6, 9)
"""Draws of other sizes, where bounds are met that others do not meet: margins of a hinge, say."""

_OF_ROWS = {"SoftmaxCrossEntropyWithLogits": 1}  # by op, the input that is probabilities
# What makes rows of rows: picked, moved, or mixed with others.
_KEEPS = RESHAPES | {"AddV2", "Add", "AddN", "Cast", "ConcatV2", "Gather", "GatherV2", "Identity"}
_KEEPS |= {"Mul", "PreventGradient", "Reverse", "ReverseV2", "StopGradient", "StridedSlice", "Sub"}


class BatchFeed(Paired):
    """Feeds arguments and random numbers of one draw.

    `rows`: arguments that are probabilities.
    """

    def __init__(
        self,
        flat: FlatGraph,
        names: Mapping[int | str, str],
        draw: int,
        rows: frozenset[Tensor] = frozenset(),
    ) -> None:
        self.rows = rows
        super().__init__(flat, names, draw)

    def argument(self, node: Node, output: int) -> Any:
        shape = node.shapes[output] if output < len(node.shapes) else None
        if shape is None:
            raise NoValueError(f"{node.id} has no known rank")
        dtype, key = node.dtypes[output], f"{self.key_of(node)}:{output}"
        domain, classes = FED[self.draw]
        if tf.as_dtype(dtype).is_floating:
            domain = Domain.ROWS if (node.index, output) in self.rows else domain
            return tf.constant(drawn((shape, dtype), domain, self.draw, key))
        if tf.as_dtype(dtype).is_integer or dtype == "bool":
            return tf.constant(drawn((shape, dtype), Domain.CLASSES, self.draw, key, classes))
        raise NoValueError(f"{node.id}: there are no draws of {dtype}")

    def drawn(self, node: Node, inputs: Sequence[Any], turn: tuple[int, ...]) -> Sequence[Any]:
        return numbers_drawn(node, inputs, self.draw, f"{self.key_of(node)}:{turn}")


class StepFeed(BatchFeed):
    """Feeds a step in one draw.

    `now`: scalar variables hold what they do now; `rows`: arguments that are probabilities.
    """

    def __init__(self, observed: Observed, draw: int, now: bool, rows: frozenset[Tensor]) -> None:
        self.step, self.now = observed.step, now
        super().__init__(observed.flat, observed.step.paths, draw, rows)

    def variable(self, variable: VariableRef) -> Any:
        numbers = self.step.numbers
        kept = self.now and variable.key in numbers and not variable.trainable
        if kept and tf.as_dtype(variable.dtype).is_floating:  # a temperature, a loss scale
            return tf.constant(numbers[variable.key], variable.dtype)
        return super().variable(variable)


def probabilities(flat: FlatGraph, arguments: Iterable[Tensor]) -> frozenset[Tensor]:
    """The arguments of a graph whose rows an op takes as probabilities."""
    behind = {flat.through(tensor): tensor for tensor in arguments}
    ends = [node.data[_OF_ROWS[node.op]] for node in flat.nodes if node.op in _OF_ROWS]
    classes = {(flat.shape(tensor) or (None,))[-1] for tensor in ends}
    found, seen = set[Tensor](), set[Tensor]()
    while ends:
        tensor = flat.through(ends.pop())
        if tensor in seen:
            continue
        seen.add(tensor)
        shape = flat.shape(tensor)
        if tensor in behind and shape and (shape[-1] in classes or None in classes):
            found.add(behind[tensor])
        elif flat.node(tensor).op in _KEEPS:
            ends += flat.node(tensor).data
    return frozenset(found)
