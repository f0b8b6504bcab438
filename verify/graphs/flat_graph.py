"""A traced function as one flat dataflow graph: nested bodies inlined, captures resolved.

`verify.graphs.inlining` makes it; everything downstream (matching, dataflow, facts) works on it, by
index; `verify.graphs.networkx_form` makes its public form. What a node has in common with others,
its attributes, shapes and dtypes, is its `verify.graphs.forms.Form`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Any, TypeVar

import numpy as np

from verify.graphs.forms import Form

T = TypeVar("T")

Tensor = tuple[int, int]
"""A tensor: (index of the node that makes it, index among that node's outputs)."""

Spec = tuple[tuple[int | None, ...] | None, str]
"""Shape and dtype name of a tensor."""

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
IFS = {"If", "StatelessIf"}
CASES = {"Case", "StatelessCase"}
WHILES = {"While", "StatelessWhile"}
IDENTITIES = {"Identity", "IdentityN"}
RESHAPES = {"ExpandDims", "Reshape", "Squeeze"}
# How TensorFlow itself classes accesses to a resource variable; every other op that takes a
# variable's handle is held to be a write.
READS = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd"}
QUERIES = {"VarIsInitializedOp", "VariableShape", "VariableShapeV2"}
_NO_WRITES = READS | QUERIES | IFS | CASES | WHILES | IDENTITIES


_NOTHING: dict[str, bytes] = {}


@dataclasses.dataclass(frozen=True)
class VariableRef:
    """The variable behind a captured handle. `key` identifies it across graphs of one process.

    `replica`: which component of a variable that is mirrored over several replicas.
    """

    key: int | str
    path: str
    shape: tuple[int | None, ...]
    dtype: str
    trainable: bool
    replica: int = 0


def branch_taken(op: str, chosen: bool | int, branches: int) -> int:
    """Which branch an op takes, as TensorFlow decides it by the value that chooses."""
    if op in IFS:
        return 0 if chosen else 1
    index = int(chosen)
    return index if 0 <= index < branches else branches - 1


class Node:
    """One operation at one call site.

    `inputs` are the tensors as wired; `data` the same with identities looked through. `path` is
    the chain of call sites, outermost first, e.g. ``("cond[then_branch]",)``. `position` is set
    for an output of a branching or looping op, which is a node of its own (exact dataflow).
    """

    __slots__ = ("control", "data", "form", "index", "inputs", "name", "op", "path", "position")

    def __init__(
        self,
        index: int,
        name: str,
        form: Form,
        path: tuple[str, ...],
        inputs: list[Tensor],
        control: Sequence[int],
        position: int | None = None,
    ) -> None:
        self.index, self.form, self.path, self.position = index, form, path, position
        self.op = form.op
        self.name = name if position is None else f"{name}:{position}"
        self.inputs, self.control = inputs, tuple(control)
        self.data = inputs

    def of(self, inputs: list[Tensor]) -> Node:
        """The same op of other tensors."""
        made = copy.copy(self)
        made.inputs = made.data = inputs
        return made

    def idle(self) -> Node:
        """A node in its place that does nothing."""
        nothing = Form(type(self.form.definition)(op="NoOp"))
        return Node(self.index, self.op_name, nothing, self.path, [], ())

    def hold(self, value: np.ndarray[Any, Any]) -> None:
        """Makes this the constant `value`, whatever it was before."""
        self.form = self.form.holding(value)
        self.op = self.form.op

    @property
    def op_name(self) -> str:
        """The name of the op: that of a branching one, where this is an output of it."""
        return self.name if self.position is None else self.name.rpartition(":")[0]

    @property
    def attrs(self) -> dict[str, Any]:
        """The op's attributes, as ``AttrValue``; none for an output of a branching op."""
        return self.form.attrs if self.position is None else {}

    @property
    def settings(self) -> dict[str, bytes]:
        """The attributes that decide what the op does, serialised; one object for equal ones."""
        return self.form.settings if self.position is None else _NOTHING

    @property
    def shapes(self) -> list[tuple[int | None, ...] | None]:
        return self._own(self.form.shapes)

    @property
    def dtypes(self) -> list[str]:
        return self._own(self.form.dtypes)

    def _own(self, every: list[T]) -> list[T]:
        return every if self.position is None else every[self.position : self.position + 1]

    @property
    def id(self) -> str:
        """Unique, readable: call path and op name, joined by ``::``."""
        return "::".join((*self.path, self.name))


@dataclasses.dataclass(frozen=True)
class Guard:
    """A branching op: which tensor chooses, and the call path of each branch."""

    op: str
    name: str
    path: tuple[str, ...]
    predicate: Tensor
    branches: tuple[tuple[str, ...], ...]


@dataclasses.dataclass
class FlatGraph:
    """A whole traced function, flat, in program order.

    `foreign`: read from a definition that anybody may have written, whose shapes may be untrue.
    What has been worked out of it is `remembered` for the next who asks, as long as the graph is.
    """

    name: str
    nodes: list[Node] = dataclasses.field(default_factory=list)
    variables: dict[int, VariableRef] = dataclasses.field(default_factory=dict)
    arguments: list[int] = dataclasses.field(default_factory=list)
    outputs: list[Tensor] = dataclasses.field(default_factory=list)
    guards: list[Guard] = dataclasses.field(default_factory=list)
    foreign: bool = False
    _kept: dict[Any, tuple[Any, Any]] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _guards_by_branch: dict[tuple[str, ...], tuple[Guard, int]] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _guards_known: int = dataclasses.field(default=0, init=False, repr=False, compare=False)
    _choices: dict[tuple[int, tuple[str, ...]], int | None] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    _accessing: tuple[dict[int, VariableRef], int, list[tuple[Node, VariableRef]]] | None = (
        dataclasses.field(default=None, init=False, repr=False, compare=False)
    )

    def remembered(self, of: Any, state: Any, make: Callable[[], T]) -> T:
        """What `make` has made before, or makes now.

        Args:
            of: what it is about; only the last of each is kept.
            state: what decides it besides the graph: of another one, it is made again.
        """
        known = self._kept.get(of)
        if known is None or known[0] != state:
            known = self._kept[of] = state, make()
        found: T = known[1]
        return found

    def node(self, tensor: Tensor) -> Node:
        return self.nodes[tensor[0]]

    def through(self, tensor: Tensor) -> Tensor:
        """The tensor behind any chain of identities, loop invariants and optional values."""
        while True:
            node = self.nodes[tensor[0]]
            if node.op in IDENTITIES or (node.op in WHILES and len(node.inputs) == 1):
                tensor = node.inputs[tensor[1]]
            elif node.op == "OptionalGetValue" and (made := self._made(node)) is not None:
                if tensor[1] >= len(made.inputs):
                    return tensor
                tensor = made.inputs[tensor[1]]
            else:
                return tensor

    def _made(self, getter: Node) -> Node | None:
        """The op that made the optional of values which another takes apart, if it is known.

        So the gradient of a branch is handed what the branch had computed, if it was taken.
        """
        node = self.node(self.seen_from(getter.path, getter.inputs[0]))
        if node.op in IFS | CASES:
            choices = [self.nodes[self.through(choice)[0]] for choice in node.inputs[1:]]
            given = [choice for choice in choices if choice.op != "OptionalNone"]
            node = given[0] if len(given) == 1 else node
        return node if node.op == "OptionalFromValue" else None

    def seen_from(self, path: tuple[str, ...], tensor: Tensor) -> Tensor:
        """The tensor that an op gets whose call path leads, perhaps, through a branch.

        There, every choice by the same predicate is made.
        """
        while True:
            tensor = self.through(tensor)
            node = self.node(tensor)
            taken = self._taken(node, path) if node.op in IFS | CASES else None
            if taken is None:
                return tensor
            tensor = node.inputs[1 + taken]

    def _taken(self, choice: Node, path: tuple[str, ...]) -> int | None:
        """Which branch of an op was taken, if a call path leads through one of another alike."""
        known = choice.index, path
        # Choices by earlier choices: without a memory, each of them doubles the work.
        if path and known not in self._choices:
            self._choices[known] = self._taken_at(choice, path)
        return self._choices.get(known)

    def _taken_at(self, choice: Node, path: tuple[str, ...]) -> int | None:
        kind = IFS if choice.op in IFS else CASES
        for guard, position in self.around(path):
            if guard.op not in kind:
                continue
            if len(guard.branches) == len(choice.inputs) - 1:
                predicate = self.seen_from(choice.path, choice.inputs[0])
                if self.seen_from(guard.path, guard.predicate) == predicate:
                    return position
        return None

    def around(self, path: tuple[str, ...]) -> Iterator[tuple[Guard, int]]:
        """The ops that a call path leads through a branch of, and which one; outermost first."""
        if self._guards_known != len(self.guards):  # guards are added while a graph is made
            self._guards_by_branch = {
                place: (guard, position)
                for guard in self.guards
                for position, place in enumerate(guard.branches)
            }
            self._guards_known = len(self.guards)
        for length in range(1, len(path) + 1):
            if (known := self._guards_by_branch.get(path[:length])) is not None:
                yield known

    def choices(self, path: tuple[str, ...]) -> Iterator[tuple[Guard, int]]:
        """The same of ops that choose a branch: of no loop."""
        return (one for one in self.around(path) if one[0].op not in WHILES)

    def loops(self, path: tuple[str, ...]) -> list[Guard]:
        """The loops around a call path; outermost first."""
        return [guard for guard, _ in self.around(path) if guard.op in WHILES]

    def completed(self) -> None:
        """Forgets what held while the graph was being built: ops were still to come."""
        self._choices.clear()

    def shape(self, tensor: Tensor) -> tuple[int | None, ...] | None:
        shapes = self.nodes[tensor[0]].shapes
        return shapes[tensor[1]] if tensor[1] < len(shapes) else None

    def dtype(self, tensor: Tensor) -> str:
        dtypes = self.nodes[tensor[0]].dtypes
        return dtypes[tensor[1]] if tensor[1] < len(dtypes) else ""

    def spec(self, tensor: Tensor) -> Spec:
        return self.shape(tensor), self.dtype(tensor)

    def variable(self, node: Node) -> VariableRef | None:
        """The variable an op reads, queries or writes: the one whose handle it takes."""
        for source, _ in node.data:
            if source in self.variables:
                return self.variables[source]
        return None

    def _accesses(self) -> list[tuple[Node, VariableRef]]:
        """The ops that take a variable's handle: found again if nodes or variables are others."""
        known = self._accessing
        if known is None or known[0] is not self.variables or known[1] != len(self.nodes):
            every = ((node, self.variable(node)) for node in self.nodes)
            found = [(node, variable) for node, variable in every if variable is not None]
            known = self._accessing = self.variables, len(self.nodes), found
        return known[2]

    def reads(self) -> Iterator[tuple[Node, VariableRef]]:
        return (access for access in self._accesses() if access[0].op in READS)

    def read_for(self, tensors: Iterable[Tensor]) -> list[VariableRef]:
        """The variables that tensors are computed from, in the order in which they are met."""
        seen, stack = set[int](), [index for index, _ in tensors]
        found: dict[int | str, VariableRef] = {}
        while stack:
            index = stack.pop()
            if index in seen:
                continue
            seen.add(index)
            node = self.nodes[index]
            if (variable := self.variable(node)) is not None:
                found.setdefault(variable.key, variable)
            stack.extend(source for source, _ in node.data)
        return list(found.values())

    def writes(self) -> Iterator[tuple[Node, VariableRef]]:
        return (access for access in self._accesses() if access[0].op not in _NO_WRITES)

    def without(self, left_out: Set[int]) -> FlatGraph:
        """The same graph, where some nodes do nothing and take nothing."""
        nodes = [node.idle() if node.index in left_out else node for node in self.nodes]
        return dataclasses.replace(self, nodes=nodes, _choices={})

    def in_one_turn(self, path: tuple[str, ...]) -> FlatGraph:
        """The same graph, where the loops around a call path take one turn, whatever they ask."""
        loops = self.loops(path)
        sites = {(guard.path, guard.name) for guard in loops}
        nodes = [*self.nodes]
        for index, node in enumerate(nodes):
            if node.position is not None and (node.path, node.op_name) in sites:
                nodes[index] = node.of(node.inputs[:1])  # what it begins with
        guards = [guard for guard in self.guards if guard not in loops]
        made = dataclasses.replace(self, nodes=nodes, guards=guards, _choices={})
        for index, node in enumerate(nodes):
            data = [made.seen_from(node.path, tensor) for tensor in node.inputs]
            if data != node.data:
                nodes[index] = node.of(node.inputs)
                nodes[index].data = data
        return made

    def unread(self) -> Iterator[tuple[Node, VariableRef]]:
        """Variables that a function gets which is not inlined: of a loop over a dataset, say."""
        for node, variable in self.writes():
            if any(value.WhichOneof("value") == "func" for value in node.attrs.values()):
                yield node, variable

    def constant(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        """The value of a ``Const`` node, None for any other."""
        node = self.nodes[tensor[0]]
        return node.form.value if node.op == "Const" else None
