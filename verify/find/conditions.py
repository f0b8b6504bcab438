"""What decides a choice: the expression of counters and other variables that a predicate is.

A variable that chooses a branch may be set by the step itself: then its value is told, else it is
set from outside.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from verify.flow import Flow
from verify.graphs import IDENTITIES, READS, RESHAPES, WHILES, FlatGraph, Guard, Tensor, VariableRef
from verify.match import Drawn, Evaluation, NoValueError, Plan
from verify.step import choosers

_MOVES = {"Cast", *IDENTITIES, *RESHAPES}
_BETWEEN = {
    "Less": "<",
    "LessEqual": "<=",
    "Greater": ">",
    "GreaterEqual": ">=",
    "Equal": "==",
    "NotEqual": "!=",
    "LogicalAnd": "and",
    "LogicalOr": "or",
    "Add": "+",
    "AddV2": "+",
    "Sub": "-",
    "Mul": "*",
    "RealDiv": "/",
    "FloorDiv": "//",
    "FloorMod": "%",
}
_BEFORE = {"LogicalNot": "not ", "Neg": "-"}
_LONGEST = 200  # characters of an expression; of a longer one, digits tell the rest
_MOST_PARTS = 400


@dataclasses.dataclass(frozen=True)
class Condition:
    """`name`: the variable that chooses, empty where none is set; `value`: what decides that.

    `tensor`: the truth value; `variables`: what it is made of.
    """

    name: str
    value: str
    tensor: Tensor
    variables: tuple[VariableRef, ...]


def conditions(flow: Flow) -> Iterator[Condition]:
    """The expressions of variables by which a step chooses; none that data decide."""
    seen = set[tuple[str, str]]()
    for guard in flow.flat.guards:
        if guard.op in WHILES or guard.path[: len(flow.region)] != flow.region:
            continue
        for name, tensor in _deciding(flow, guard):
            if tensor[0] in flow.of_data or tensor[0] in flow.of_weights:
                continue
            variables = tuple(flow.flat.read_for([tensor]))
            told = _told(flow, tensor)
            alone = {variable.path for variable in variables}
            if variables and told not in alone and (name, told) not in seen:
                seen.add((name, told))
                yield Condition(name, told, tensor, variables)


def _deciding(flow: Flow, guard: Guard) -> Iterator[tuple[str, Tensor]]:
    """What sets the variables that a guard is chosen by, else the predicate itself."""
    own = {variable.key: variable for variable in choosers(flow.flat, guard)}
    set_here = False
    for node, variable in flow.flat.writes():
        if variable.key in own and variable.dtype == "bool" and node.op == "AssignVariableOp":
            set_here = True
            yield variable.path, node.data[-1]
    if not set_here:
        yield "", guard.predicate


def _told(flow: Flow, tensor: Tensor) -> str:
    text = _Words(flow).of(tensor)
    if len(text) <= _LONGEST:
        return text
    digits = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return f"{text[:_LONGEST]}... [{digits}]"


class _Words:
    """Expressions in the words of Python, with variables by their paths."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.flat, self._parts = flow, flow.flat, 0

    def of(self, tensor: Tensor, within: bool = False) -> str:
        """`within`: whether it is a part of a larger one."""
        tensor = self.flat.through(tensor)
        node, self._parts = self.flat.node(tensor), self._parts + 1
        value = self.flow.folder.value(tensor)
        if value is not None:
            number = value.size == 1 and value.dtype.kind in "iuf"
            return f"{value.item():.7g}" if number else str(value.tolist())
        if self._parts > _MOST_PARTS:
            return "..."
        if node.op in READS and (variable := self.flat.variable(node)) is not None:
            return variable.path
        if node.op in _MOVES:
            return self.of(node.data[0], within)
        if node.op in _BEFORE:
            told = _BEFORE[node.op] + self.of(node.data[0], True)
        elif node.op in _BETWEEN and len(node.data) == 2:
            left, right = (self.of(one, True) for one in node.data)
            told = f"{left} {_BETWEEN[node.op]} {right}"
        else:
            return f"{node.op}({', '.join(self.of(one) for one in node.data)})"
        return f"({told})" if within else told


class Chosen:
    """The values of a condition, for numbers that its variables may hold."""

    def __init__(self, flat: FlatGraph, condition: Condition) -> None:
        self.flat, self.condition, self._plan = flat, condition, Plan(flat)

    def where(self, held: Mapping[str, float]) -> bool:
        """`held`: by path of each variable.

        Raises:
            NoValueError: that can't be computed.
        """
        evaluation = Evaluation(self._plan, _Holding(held))
        return bool(np.asarray(evaluation.value(self.condition.tensor)).all())


class _Holding(Drawn):
    def __init__(self, held: Mapping[str, float]) -> None:
        super().__init__(0)
        self.held = held

    def variable(self, variable: VariableRef) -> Any:
        if variable.path not in self.held or variable.shape != ():
            raise NoValueError(f"{variable.path} is not a number")
        return tf.cast(self.held[variable.path], variable.dtype)
