"""Which variables are updated by the same ops, whatever these are called.

What is computed from the end of backpropagation to the write of a variable is given a digest, in
which the variable, what is kept for it, and its gradient have no names. Where two digests are
equal, what values tell of one update holds for the other.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from verify.flow.gradient_flow import Flow
from verify.graphs import Node, Tensor, VariableRef

Key = int | str


class Programs:
    """Digests of the updates of one step.

    Args:
        flow: of the step.
        starts: where backpropagation ends, by key of the variable.
        numbers: what scalar variables hold, by key, which then stands for them: so digests are
            comparable among steps.
        rows: the numbers of the rows that gradients consist of, where they do, and whether no two
            are the same.
    """

    def __init__(
        self,
        flow: Flow,
        starts: Mapping[Key, Tensor],
        numbers: Mapping[Key, float] | None = None,
        rows: Mapping[Tensor, bool] = MappingProxyType({}),
    ) -> None:
        self.flow, self.flat, self.starts, self.numbers = flow, flow.flat, starts, numbers
        self.rows = rows
        self._ends = {index for index, _ in starts.values()}
        self._common: dict[int, bool] = {}

    @functools.cached_property
    def writes(self) -> dict[Key, list[Node]]:
        """What writes each variable, in the order of the graph."""
        found: dict[Key, list[Node]] = {}
        for node, variable in self.flat.writes():
            found.setdefault(variable.key, []).append(node)
        return found

    def of(self, variable: VariableRef) -> bytes:
        """A digest of all that is written to a variable, and to what is kept for it."""
        return _Program(self, variable).digest()

    def anywhere(self, variable: VariableRef) -> bytes | None:
        """The same, if no part of it is of this step alone."""
        program = _Program(self, variable)
        digest = program.digest()
        return None if program.is_local else digest

    def is_common(self, index: int) -> bool:
        """Whether a number is made of several gradients, as their norm is."""
        if index not in self._common:
            above = self.flow.ancestors([index], without=self.flow.propagated - self._ends)
            self._common[index] = len(above & self._ends) > 1
        return self._common[index]


class _Program:
    """The digests of what one variable is updated by."""

    def __init__(self, programs: Programs, own: VariableRef) -> None:
        self.programs, self.flow, self.flat, self.own = programs, programs.flow, programs.flat, own
        self.start = programs.starts[own.key]
        self.is_local = False
        self._kept: dict[Key, int] = {}
        self._known: dict[Tensor, bytes] = {}
        self._writes: dict[int, bytes] = {}  # by index

    def digest(self) -> bytes:
        parts: list[Any] = [len(self.own.shape), self.own.dtype, *self._written(self.own.key)]
        done = 0
        while done < len(self._kept):  # what is kept may be made of something else that is
            parts += self._written(list(self._kept)[done])
            done += 1
        return _digest(*parts)

    def _written(self, key: Key) -> list[bytes]:
        return [self._write(node) for node in self.programs.writes.get(key, ())]

    def _write(self, node: Node) -> bytes:
        """What a write does, and when: what decides whether it runs counts as well."""
        if node.index not in self._writes:
            self._writes[node.index] = b"of itself"
            inputs = [t for t in node.data if t[0] not in self.flat.variables]
            inputs += [guard.predicate for guard, _ in self.flat.around(node.path)]
            self._writes[node.index] = _digest(node.op, node.path, *map(self._of, inputs))
        return self._writes[node.index]

    def _of(self, wanted: Tensor) -> bytes:
        stack, opened = [wanted], set[Tensor]()
        while stack:
            tensor = stack[-1]
            if tensor in self._known:
                stack.pop()
                continue
            node = self.flat.node(tensor)
            if tensor not in opened:
                opened.add(tensor)
                leaf = self._leaf(tensor, node)
                if leaf is not None:
                    self._known[tensor] = _digest(*leaf)
                    continue
                if missing := [t for t in node.data if t not in self._known]:
                    stack += missing
                    continue
            inputs = [self._known.get(t, b"of itself") for t in node.data]
            if node.op == "Reshape" and (shape := self._shape(node.data[1])) is not None:
                inputs[1] = shape
            # Settings are one object for equal ones, in any graph, and kept for good.
            self._known[tensor] = _digest(node.op, id(node.settings), tensor[1], *inputs)
        return self._known[wanted]

    def _shape(self, tensor: Tensor) -> bytes | None:
        """A shape that is written down, in terms of the variable's own."""
        value = self.flow.folder.value(tensor)
        if value is None:
            return None
        own = self.own.shape
        sizes = (f"own {own.index(n)}" if n > 1 and n in own else n for n in value.tolist())
        return _digest(*sizes)

    def _leaf(self, tensor: Tensor, node: Node) -> list[Any] | None:
        """What a tensor is where what it is made of does not matter."""
        if tensor == self.start:
            return ["gradient"]
        if tensor in self.programs.rows:
            return ["numbers of rows", self.programs.rows[tensor]]
        value = self.flow.folder.value(tensor)
        if value is not None:
            return ["constant", value.dtype.str, value.shape, value.tobytes()]
        variable = self.flat.variable(node)
        if variable is not None:
            writes = self.programs.writes.get(variable.key, ())
            before = [write for write in writes if write.index < node.index]
            return ["read", node.op, *self._read(variable, before)]
        # What others have in common, or what only this one has: which one it is does matter.
        index = tensor[0]
        backward = index in self.flow.backward
        own = index in self.flow.propagated or (not backward and index in self.flow.of_data)
        if own or (backward and self.flat.shape(tensor) == () and self.programs.is_common(index)):
            self.is_local = True
            return ["this", tensor]
        return None

    def _read(self, variable: VariableRef, before: list[Node]) -> list[Any]:
        """What a variable holds where it is read, after the writes that come before.

        The writes to what is kept for this one are part of the whole.
        """
        if variable.key == self.own.key:
            return ["own", len(before)]
        numbers, is_trained = self.programs.numbers, self.flow.is_trainable(variable)
        if numbers is not None and variable.shape == () and not is_trained:
            counts = variable.dtype.startswith(("int", "uint"))
            held = None if counts else numbers.get(variable.key)
            return ["number", variable.dtype, held, *map(self._write, before)]
        if variable.shape == () or is_trained:
            self.is_local = True
            return [variable.key, len(before)]
        return ["kept", self._kept.setdefault(variable.key, len(self._kept)), len(before)]


def _digest(*parts: Any) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
