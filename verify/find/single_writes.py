"""The writes of a step one by one: which there are, and what each makes of what a variable held.

A write is looked at whether the branch that it is in is taken or not, unless a constant always
chooses another one. Truth values that decide what is written are set to either by turns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.observed import Array, Observed
from verify.graphs import IFS, READS, WHILES, Node, Tensor, VariableRef
from verify.match import Evaluation, NoValueError, assigned, concrete, wide

_DECIDES = {"Cast", "Select", "SelectV2", *IFS}  # by the first of their inputs
Key = int | str


class SingleWrites:
    """The writes of one step, or of one branch of it."""

    def __init__(self, observed: Observed) -> None:
        self.observed, self.flow, self.flat = observed, observed.flow, observed.flat

    @functools.cached_property
    def by_key(self) -> dict[Key, list[tuple[Node, VariableRef]]]:
        """By key of the variable; ops of old optimizers write several at once.

        What gives a variable its first value, where it has none yet, is no write of a step.
        """
        found: dict[Key, list[tuple[Node, VariableRef]]] = {}
        for node, first in self.flat.writes():
            if not self.flow.inside(node) or self.flow.is_never_made(node):
                continue
            handles = (self.flat.variables.get(source) for source, _ in node.data)
            variables = {v.key: v for v in (first, *handles) if v is not None}
            for key, variable in variables.items():
                if not self._is_first(node, variable):
                    found.setdefault(key, []).append((node, variable))
        return found

    def _is_first(self, write: Node, variable: VariableRef) -> bool:
        """Whether a write is made only where a variable has no value yet."""
        for guard, position in self.flat.choices(write.path):
            asked, without = self.flat.node(self.flat.through(guard.predicate)), 1
            while asked.op == "LogicalNot":
                asked, without = self.flat.node(asked.data[0]), 1 - without
            if asked.op == "VarIsInitializedOp" and guard.op in IFS and position == without:
                about = self.flat.variable(asked)
                if about is not None and about.key == variable.key:
                    return True
        return False

    @functools.cached_property
    def reads(self) -> dict[Key, list[int]]:
        """The nodes that read the whole of a variable, by its key."""
        found: dict[Key, list[int]] = {}
        for node, variable in self.flat.reads():
            if node.op == "ReadVariableOp":
                found.setdefault(variable.key, []).append(node.index)
        return found

    def given(self, write: Node) -> list[Tensor]:
        """What a write is given besides the variable."""
        return [tensor for tensor in write.data if tensor[0] not in self.flat.variables]

    def deciding(self, tensors: Iterable[Tensor], without: Iterable[Tensor] = ()) -> list[Tensor]:
        """The truth values that decide these values, and that no constant does.

        Args:
            without: what is not looked behind.
        """
        found, seen, stack = list[Tensor](), {*without}, [*tensors]
        while stack:
            tensor = stack.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            node = self.flat.node(tensor)
            if node.op in READS | WHILES or tensor[0] in self.flat.variables:
                continue  # what decides on another turn of a loop has to be as it is
            if node.op in _DECIDES and self._is_open(node.data[0]):
                found.append(node.data[0])
            stack += node.data
        return list(dict.fromkeys(found))

    def _is_open(self, tensor: Tensor) -> bool:
        shape, dtype = self.flat.spec(tensor)
        return dtype == "bool" and shape is not None and self.flow.folder.value(tensor) is None

    def decided(self, tensors: Iterable[Tensor], as_: bool | None, draw: int) -> dict[Tensor, Any]:
        """Truth values, cut: all of them `as_`, or none."""
        if as_ is None:
            return {}
        shapes = {tensor: self.flat.shape(tensor) or () for tensor in tensors}
        return {t: tf.fill(concrete(shape, draw), as_) for t, shape in shapes.items()}

    def after(self, write: Node, before: Any, evaluation: Evaluation) -> Array:
        """What a variable holds after a write, that held `before`.

        Raises:
            NoValueError: that can't be computed.
        """
        held = wide(tf.convert_to_tensor(before))
        try:
            with tf.init_scope():
                values = [evaluation.value(tensor) for tensor in self.given(write)]
                made = assigned(write, held, values)
        except tf.errors.InvalidArgumentError as error:  # rows that do not fit, say
            raise NoValueError(f"{write.id} can't be computed: {error.message}") from None
        if made is None:
            raise NoValueError(f"what {write.id} writes is not known")
        found: Array = np.asarray(made)
        return np.broadcast_to(found, np.shape(before)) if found.shape == () else found

    def reads_as(self, key: Key, value: Any) -> dict[Tensor, Any]:
        """The reads of a variable, cut: each as this value."""
        return {(index, 0): value for index in self.reads.get(key, ())}
