"""A traced function as one flat dataflow graph: nested bodies inlined, captures resolved.

A ``ConcreteFunction`` hides most of a training step in function bodies: branches of ``tf.cond``,
loop bodies, calls. `flatten` reads the public ``GraphDef`` of the function, inlines every body at
its call site (so that a body called twice appears twice, each time under its own call path) and
resolves resource captures to the variables behind them. Everything downstream (matching, dataflow,
facts) works on the resulting `FlatGraph`; `verify.network` makes its public form.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# GraphDef inputs inside a function body name an output argument ("split:output:1"); turning that
# into a flat output index needs the op's definition, for which TensorFlow has no public registry.
# tests/verify/test_graph.py notices when this moves.
from tensorflow.python.framework import op_def_registry

Tensor = tuple[int, int]
"""A tensor: (index of the node that makes it, index among that node's outputs)."""

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
IFS = {"If", "StatelessIf"}
CASES = {"Case", "StatelessCase"}
WHILES = {"While", "StatelessWhile"}
IDENTITIES = {"Identity", "IdentityN"}
# How TensorFlow itself classes accesses to a resource variable; every other op that takes a
# variable's handle is held to be a write.
READS = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd"}
QUERIES = {"VarIsInitializedOp", "VariableShape", "VariableShapeV2"}


@dataclasses.dataclass(frozen=True)
class VariableRef:
    """The variable behind a captured handle. `key` identifies it across graphs of one process."""

    key: int | str
    path: str
    shape: tuple[int | None, ...]
    dtype: str
    trainable: bool


@dataclasses.dataclass
class Node:
    """One operation at one call site.

    `inputs` are the tensors as wired; `data` the same with identities looked through. `path` is
    the chain of call sites, outermost first, e.g. ``("cond[then_branch]",)``.
    """

    index: int
    name: str
    op: str
    attrs: dict[str, Any]
    path: tuple[str, ...]
    inputs: list[Tensor] = dataclasses.field(default_factory=list)
    data: list[Tensor] = dataclasses.field(default_factory=list)
    control: list[int] = dataclasses.field(default_factory=list)
    shapes: list[tuple[int | None, ...] | None] = dataclasses.field(default_factory=list)
    dtypes: list[str] = dataclasses.field(default_factory=list)

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
    """A whole traced function, flat, in program order."""

    name: str
    nodes: list[Node] = dataclasses.field(default_factory=list)
    variables: dict[int, VariableRef] = dataclasses.field(default_factory=dict)
    arguments: list[int] = dataclasses.field(default_factory=list)
    outputs: list[Tensor] = dataclasses.field(default_factory=list)
    guards: list[Guard] = dataclasses.field(default_factory=list)

    def node(self, tensor: Tensor) -> Node:
        return self.nodes[tensor[0]]

    def through(self, tensor: Tensor) -> Tensor:
        """The tensor behind any chain of identities and loop invariants."""
        node = self.nodes[tensor[0]]
        while node.op in IDENTITIES or (node.op in WHILES and len(node.inputs) == 1):
            tensor = node.inputs[tensor[1]]
            node = self.nodes[tensor[0]]
        return tensor

    def shape(self, tensor: Tensor) -> tuple[int | None, ...] | None:
        shapes = self.nodes[tensor[0]].shapes
        return shapes[tensor[1]] if tensor[1] < len(shapes) else None

    def dtype(self, tensor: Tensor) -> str:
        dtypes = self.nodes[tensor[0]].dtypes
        return dtypes[tensor[1]] if tensor[1] < len(dtypes) else ""

    def variable(self, node: Node) -> VariableRef | None:
        """The variable an op reads, queries or writes: the one whose handle it takes."""
        for source, _ in node.data:
            if source in self.variables:
                return self.variables[source]
        return None

    def reads(self) -> Iterator[tuple[Node, VariableRef]]:
        for node in self.nodes:
            if node.op in READS and (variable := self.variable(node)) is not None:
                yield node, variable

    def writes(self) -> Iterator[tuple[Node, VariableRef]]:
        for node in self.nodes:
            if node.op in READS | QUERIES | IFS | CASES | WHILES | IDENTITIES:
                continue
            if (variable := self.variable(node)) is not None:
                yield node, variable

    def constant(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        """The value of a ``Const`` node, None for any other."""
        node = self.nodes[tensor[0]]
        if node.op != "Const":
            return None
        value = node.attrs.get("__value__")
        if value is None:
            value = tf.make_ndarray(node.attrs["value"].tensor)
            node.attrs["__value__"] = value
        return np.asarray(value)


def flatten(concrete: Any) -> FlatGraph:
    """The flat graph of a ``tf.types.experimental.ConcreteFunction``."""
    definition = concrete.graph.as_graph_def(add_shapes=True)
    flat = _Flattener(definition).run(concrete.name)
    by_name = {node.name: node for node in flat.nodes if not node.path}
    inputs = [by_name[tensor.op.name].index for tensor in concrete.inputs]
    captured = concrete.captured_inputs
    split = len(inputs) - len(captured)
    flat.arguments = inputs[:split]
    flat.variables = _captured_variables(concrete, dict(zip(inputs[split:], captured, strict=True)))
    for tensor in concrete.outputs:
        index = by_name[tensor.op.name].index if tensor.op.name in by_name else -1
        if index >= 0:
            flat.outputs.append(flat.through((index, tensor.value_index)))
    return flat


def _captured_variables(concrete: Any, captured: dict[int, Any]) -> dict[int, VariableRef]:
    """Which captured handle is which variable, by identity of the handle."""
    owners = {id(variable.handle): variable for variable in concrete.graph.variables}
    found: dict[int, VariableRef] = {}
    seen: dict[str, set[int]] = {}
    for index, tensor in captured.items():
        variable = owners.get(id(tensor))
        if variable is None:
            continue
        path = variable.name.rsplit(":", 1)[0]
        same = seen.setdefault(path, set())
        same.add(id(tensor))
        found[index] = VariableRef(
            key=id(tensor),
            path=path if len(same) == 1 else f"{path}#{len(same)}",
            shape=tuple(variable.shape),
            dtype=variable.dtype.name,
            trainable=bool(variable.trainable),
        )
    return found


class _Flattener:
    """Inlines a GraphDef and its function library into one list of nodes."""

    def __init__(self, definition: Any) -> None:
        self.definition = definition
        self.library = {f.signature.name: f for f in definition.library.function}
        self.flat = FlatGraph("")

    def run(self, name: str | bytes) -> FlatGraph:
        self.flat.name = name.decode() if isinstance(name, bytes) else name
        self._body(self.definition.node, {}, ())
        for node in self.flat.nodes:
            node.data = [self.flat.through(tensor) for tensor in node.inputs]
        return self.flat

    def _body(
        self, nodes: Sequence[Any], outputs: dict[str, list[Tensor]], path: tuple[str, ...]
    ) -> dict[str, list[Tensor]]:
        """Adds `nodes` under `path`; returns name -> output tensors (arguments included)."""
        offsets: dict[str, dict[str, int]] = {}
        controls: dict[str, list[int]] = {name: [] for name in outputs}
        for definition in _program_order(nodes):
            data: list[Tensor] = []
            control: list[int] = []
            for reference in definition.input:
                if reference.startswith("^"):
                    control.extend(controls[reference[1:]])
                else:
                    data.append(_resolve(reference, outputs, offsets))
            first = len(self.flat.nodes)
            outputs[definition.name] = self._node(definition, data, control, path)
            added = range(first, len(self.flat.nodes))
            # A control edge from a call waits for the whole body: its last node stands for it.
            controls[definition.name] = [added[-1]] if added else list(control)
            offsets[definition.name] = _output_offsets(definition)
        return outputs

    def _node(
        self, definition: Any, data: list[Tensor], control: list[int], path: tuple[str, ...]
    ) -> list[Tensor]:
        op, attr = definition.op, definition.attr
        if op in CALLS:
            return self._call(attr["f"].func.name, data, (*path, f"{definition.name}[f]"))
        if op in self.library:
            return self._call(op, data, (*path, f"{definition.name}[f]"))
        if op in IFS:
            names = [attr["then_branch"].func.name, attr["else_branch"].func.name]
            return self._branch(
                definition, data, control, path, names, ["then_branch", "else_branch"]
            )
        if op in CASES:
            names = [branch.name for branch in attr["branches"].list.func]
            labels = [f"branches:{i}" for i in range(len(names))]
            return self._branch(definition, data, control, path, names, labels)
        if op in WHILES:
            return self._while(definition, data, control, path)
        node = self._add(definition.name, op, dict(attr), data, control, path)
        node.dtypes = _output_dtypes(definition)
        node.shapes = [_shape(shape) for shape in attr["_output_shapes"].list.shape]
        return [(node.index, i) for i in range(max(1, len(node.dtypes)))]

    def _add(
        self,
        name: str,
        op: str,
        attrs: dict[str, Any],
        data: list[Tensor],
        control: list[int],
        path: tuple[str, ...],
    ) -> Node:
        attrs.pop("_output_shapes", None)
        node = Node(len(self.flat.nodes), name, op, attrs, path, list(data), control=list(control))
        self.flat.nodes.append(node)
        return node

    def _call(self, function: str, data: list[Tensor], path: tuple[str, ...]) -> list[Tensor]:
        body = self.library[function]
        names = [argument.name for argument in body.signature.input_arg]
        outputs = {name: [tensor] for name, tensor in zip(names, data, strict=True)}
        outputs = self._body(body.node_def, outputs, path)
        offsets = {definition.name: _output_offsets(definition) for definition in body.node_def}
        return [
            _resolve(body.ret[argument.name], outputs, offsets)
            for argument in body.signature.output_arg
        ]

    def _merge(
        self, definition: Any, position: int, data: list[Tensor], path: tuple[str, ...]
    ) -> Node:
        """One output of a branching or looping op, as a node of its own (exact dataflow)."""
        node = self._add(f"{definition.name}:{position}", definition.op, {}, data, [], path)
        dtypes, shapes = _output_dtypes(definition), definition.attr["_output_shapes"].list.shape
        node.dtypes = dtypes[position : position + 1]
        node.shapes = [_shape(shape) for shape in shapes[position : position + 1]]
        return node

    def _branch(
        self,
        definition: Any,
        data: list[Tensor],
        control: list[int],
        path: tuple[str, ...],
        functions: list[str],
        labels: list[str],
    ) -> list[Tensor]:
        predicate, arguments = data[0], data[1:]
        sites = [(*path, f"{definition.name}[{label}]") for label in labels]
        self.flat.guards.append(
            Guard(definition.op, definition.name, path, predicate, tuple(sites))
        )
        results = [
            self._call(name, arguments, site) for name, site in zip(functions, sites, strict=True)
        ]
        merged = []
        for position, choices in enumerate(zip(*results, strict=True)):
            node = self._merge(definition, position, [predicate, *choices], path)
            node.control = list(control)
            merged.append((node.index, 0))
        return merged

    def _while(
        self, definition: Any, data: list[Tensor], control: list[int], path: tuple[str, ...]
    ) -> list[Tensor]:
        """Each loop variable is one node fed by its initial value and by the body's result."""
        variables = [self._merge(definition, i, [init], path) for i, init in enumerate(data)]
        heads: list[Tensor] = [(node.index, 0) for node in variables]
        cond_site = (*path, f"{definition.name}[cond]")
        body_site = (*path, f"{definition.name}[body]")
        predicate = self._call(definition.attr["cond"].func.name, heads, cond_site)[0]
        self.flat.guards.append(
            Guard(definition.op, definition.name, path, predicate, (body_site,))
        )
        results = self._call(definition.attr["body"].func.name, heads, body_site)
        for node, result in zip(variables, results, strict=True):
            # A loop invariant keeps its initial value as only input: `through` looks past it.
            if self.flat.through(result) != self.flat.through((node.index, 0)):
                node.inputs.append(result)
            node.control = list(control)
        return heads


def _program_order(nodes: Sequence[Any]) -> list[Any]:
    """`nodes` as written, but each after everything it waits for (bodies end with such a NoOp)."""
    position = {definition.name: i for i, definition in enumerate(nodes)}
    waiting = [0] * len(nodes)
    followers: list[list[int]] = [[] for _ in nodes]
    for i, definition in enumerate(nodes):
        sources = {reference.lstrip("^").split(":")[0] for reference in definition.input}
        for source in sources & position.keys():
            waiting[i] += 1
            followers[position[source]].append(i)
    ready = [i for i, count in enumerate(waiting) if count == 0]
    ordered = []
    while ready:
        i = heapq.heappop(ready)
        ordered.append(nodes[i])
        for follower in followers[i]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, follower)
    if len(ordered) < len(nodes):
        raise ValueError("the graph has a cycle outside tf.while_loop bodies and can't be read")
    return ordered


def _resolve(
    reference: str, outputs: dict[str, list[Tensor]], offsets: dict[str, dict[str, int]]
) -> Tensor:
    """A GraphDef input string -> tensor: "arg", "node", "node:1" or "node:output_arg:1"."""
    name, *rest = reference.split(":")
    if not rest:
        return outputs[name][0]
    if len(rest) == 1:
        return outputs[name][int(rest[0])]
    return outputs[name][offsets[name][rest[0]] + int(rest[1])]


def _argument_size(argument: Any, attrs: Any) -> int:
    if argument.number_attr:
        return int(attrs[argument.number_attr].i)
    if argument.type_list_attr:
        return len(attrs[argument.type_list_attr].list.type)
    return 1


def _output_offsets(definition: Any) -> dict[str, int]:
    op_def = op_def_registry.get(definition.op)
    if op_def is None:  # a direct call of a library function: outputs are named by the signature
        return {}
    offsets, position = {}, 0
    for argument in op_def.output_arg:
        offsets[argument.name] = position
        position += _argument_size(argument, definition.attr)
    return offsets


def _output_dtypes(definition: Any) -> list[str]:
    op_def = op_def_registry.get(definition.op)
    if op_def is None:
        return []
    enums: list[int] = []
    for argument in op_def.output_arg:
        if argument.type_list_attr:
            enums.extend(definition.attr[argument.type_list_attr].list.type)
            continue
        enum = definition.attr[argument.type_attr].type if argument.type_attr else argument.type
        enums.extend([enum] * _argument_size(argument, definition.attr))
    return [tf.as_dtype(enum).name for enum in enums]


def _shape(proto: Any) -> tuple[int | None, ...] | None:
    if proto.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in proto.dim)
