"""GraphDef -> flat graph: every function body inlined at its call site.

A ``ConcreteFunction`` hides most of a training step in function bodies: branches of ``tf.cond``,
loop bodies, calls. Reading the public ``GraphDef``, each body is inlined where it is called (so
that a body called twice appears twice, each time under its own call path).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from verify.graphs.flat_graph import CALLS, CASES, IFS, WHILES, FlatGraph, Guard, Node, Tensor
from verify.graphs.forms import Form, form_of
from verify.graphs.variables import Owners, captured_variables

_MAX_OPS = 10_000_000
_MAX_DEPTH = 100  # of calls within calls

Reference = tuple[str, str]
"""An input of a node as a definition writes it: the name before the first colon and the rest."""


class Written(NamedTuple):
    """A node as a definition has it: what its inputs refer to, and the nodes that it waits for."""

    name: str
    form: Form
    references: list[Reference]
    waits: list[str]


Outputs = dict[str, "int | list[Tensor]"]
"""What a name stands for: a node's index, or the tensors a call or an argument stands for."""


def flatten(concrete: Any, owners: Owners | None = None) -> FlatGraph:
    """The flat graph of a ``tf.types.experimental.ConcreteFunction``.

    `owners`: which handles are components of one variable, see `verify.variables`.
    """
    definition = concrete.graph.as_graph_def(add_shapes=True)
    return flatten_function(
        definition, concrete.graph, concrete.name, concrete.captured_inputs, owners or {}
    )


def flatten_function(
    definition: Any, graph: Any, name: str | bytes, captured: Sequence[Any], owners: Owners
) -> FlatGraph:
    """The flat graph of a ``FuncGraph`` whose definition (perhaps optimised) is `definition`.

    `captured`: what the last of the graph's inputs stand for, outside.
    """
    flat = flatten_definition(definition, name)
    by_name = {node.name: node for node in flat.nodes if not node.path}
    # An optimised definition may have dropped what nothing uses.
    inputs = [getattr(by_name.get(tensor.op.name), "index", -1) for tensor in graph.inputs]
    split = len(inputs) - len(captured)
    flat.arguments = inputs[:split]
    outside = dict(zip(inputs[split:], captured, strict=True))
    flat.variables = captured_variables(graph, outside, owners)
    for index, tensor in outside.items():
        # A graph captures what is too large to be written into it: the value is the same for ever.
        if index >= 0 and index not in flat.variables and (value := _held(tensor)) is not None:
            flat.nodes[index].hold(value)
    for tensor in graph.outputs:
        if tensor.op.name in by_name:
            flat.outputs.append(flat.through((by_name[tensor.op.name].index, tensor.value_index)))
    return flat


def _held(tensor: Any) -> np.ndarray[Any, Any] | None:
    """The value of an eager tensor; None for a handle, and for what is no eager tensor."""
    if not tf.is_tensor(tensor) or not hasattr(tensor, "numpy"):
        return None
    if tensor.dtype in (tf.resource, tf.variant):
        return None
    return np.asarray(tensor.numpy())


def flatten_definition(definition: Any, name: str | bytes) -> FlatGraph:
    """The flat graph of a ``GraphDef``, with no argument or variable known.

    Raises:
        ValueError: it is no graph, or one too large to be inlined, see `check_size`; choices that
            depend on one another in so long a chain that Python's stack does not hold it.
    """
    check_size(definition)
    try:
        return _Flattener(definition).run(name)
    except RecursionError:
        raise ValueError(
            "the chain of branches that depend on one another is too long to be read"
        ) from None


def check_size(definition: Any) -> None:
    """Counts what inlining would make, which may be exponentially more than is written.

    Raises:
        ValueError: a function that calls itself, is called and missing, or is nested too deeply;
            more than 10 million ops.
    """
    library = {f.signature.name: f.node_def for f in definition.library.function}
    known: dict[str, tuple[int, int]] = {}

    def measured(nodes: Any, calling: tuple[str, ...]) -> tuple[int, int]:
        """(ops once inlined, levels of calls)."""
        total, depth = len(nodes), 0
        for node in nodes:
            for name in called(node, library):
                if name in calling:
                    raise ValueError(f"the function {name} calls itself and can't be read")
                if name not in library:
                    raise ValueError(f"the function {name} is called by {node.name} and missing")
                if name not in known and len(calling) < _MAX_DEPTH:
                    known[name] = measured(library[name], (*calling, name))
                ops, levels = known.get(name, (0, _MAX_DEPTH))
                total, depth = total + ops, max(depth, levels + 1)
        if depth > _MAX_DEPTH:
            raise ValueError(f"functions are nested more than {_MAX_DEPTH} deep")
        return total, depth

    total, _ = measured(definition.node, ())
    if total > _MAX_OPS:
        raise ValueError(f"inlined, these would be {total} ops; {_MAX_OPS} can be read")


def called(node: Any, library: Mapping[str, Any]) -> list[str]:
    """The functions whose bodies are inlined for a node."""
    if node.op in CALLS:
        return [node.attr["f"].func.name]
    if node.op in IFS:
        return [node.attr[branch].func.name for branch in ("then_branch", "else_branch")]
    if node.op in CASES:
        return [branch.name for branch in node.attr["branches"].list.func]
    if node.op in WHILES:
        return [node.attr[part].func.name for part in ("cond", "body")]
    return [node.op] if node.op in library else []


class _Flattener:
    """Inlines a GraphDef and its function library into one list of nodes."""

    def __init__(self, definition: Any) -> None:
        self.definition = definition
        self.library = {f.signature.name: f for f in definition.library.function}
        self.flat = FlatGraph("")
        self._orders: dict[str, list[Written]] = {}

    def run(self, name: str | bytes) -> FlatGraph:
        self.flat.name = name.decode() if isinstance(name, bytes) else name
        self._body(_program_order(self.definition.node), {}, ())
        self.flat.completed()
        seen_from = self.flat.seen_from
        for node in self.flat.nodes:
            data = [seen_from(node.path, tensor) for tensor in node.inputs]
            if data != node.inputs:
                node.data = data
        return self.flat

    def _body(self, nodes: Sequence[Written], outputs: Outputs, path: tuple[str, ...]) -> Outputs:
        """Adds `nodes` under `path`; returns name -> output tensors (arguments included)."""
        forms: dict[str, Form] = {}
        controls: dict[str, tuple[int, ...]] = dict.fromkeys(outputs, ())
        for written in nodes:
            data = [self._resolve(reference, outputs, forms) for reference in written.references]
            control = tuple(itertools.chain(*(controls[source] for source in written.waits)))
            first = len(self.flat.nodes)
            outputs[written.name] = self._node(written, data, control, path)
            # A control edge from a call waits for the whole body: its last node stands for it.
            last = len(self.flat.nodes) - 1
            controls[written.name] = (last,) if last >= first else control
            forms[written.name] = written.form
        return outputs

    def _node(
        self, written: Written, data: list[Tensor], control: Sequence[int], path: tuple[str, ...]
    ) -> int | list[Tensor]:
        op, attr = written.form.op, written.form.definition.attr
        if op in CALLS:
            return self._call(attr["f"].func.name, data, (*path, f"{written.name}[f]"))
        if op in IFS:
            names = [attr[branch].func.name for branch in ("then_branch", "else_branch")]
            return self._branch(written, data, control, path, names, ["then_branch", "else_branch"])
        if op in CASES:
            names = [branch.name for branch in attr["branches"].list.func]
            labels = [f"branches:{i}" for i in range(len(names))]
            return self._branch(written, data, control, path, names, labels)
        if op in WHILES:
            return self._while(written, data, control, path)
        if op in self.library:
            return self._call(op, data, (*path, f"{written.name}[f]"))
        return self._add(written, data, control, path).index

    def _add(
        self,
        written: Written,
        data: list[Tensor],
        control: Sequence[int],
        path: tuple[str, ...],
        position: int | None = None,
    ) -> Node:
        index = len(self.flat.nodes)
        node = Node(index, written.name, written.form, path, data, control, position)
        self.flat.nodes.append(node)
        return node

    def _call(self, function: str, data: list[Tensor], path: tuple[str, ...]) -> list[Tensor]:
        body = self.library[function]
        names = [argument.name for argument in body.signature.input_arg]
        arguments: Outputs = {name: [tensor] for name, tensor in zip(names, data, strict=True)}
        if function not in self._orders:
            self._orders[function] = _program_order(body.node_def)
        outputs = self._body(self._orders[function], arguments, path)
        forms = {written.name: written.form for written in self._orders[function]}
        return [
            self._resolve(_reference(body.ret[argument.name]), outputs, forms)
            for argument in body.signature.output_arg
        ]

    def _resolve(self, reference: Reference, outputs: Outputs, forms: dict[str, Form]) -> Tensor:
        """What a node's input is: "arg", "node", "node:1" or "node:output_arg:1"."""
        name, rest = reference
        made = outputs[name]
        position = 0
        if rest:
            argument, _, within = rest.partition(":")
            if not within:
                position = int(argument)
            elif forms[name].op in self.library:
                called = self.library[forms[name].op].signature.output_arg
                position = [output.name for output in called].index(argument)
            else:
                position = forms[name].offset(argument) + int(within)
        return (made, position) if isinstance(made, int) else made[position]

    def _branch(
        self,
        written: Written,
        data: list[Tensor],
        control: Sequence[int],
        path: tuple[str, ...],
        functions: list[str],
        labels: list[str],
    ) -> list[Tensor]:
        predicate, arguments = data[0], data[1:]
        sites = [(*path, f"{written.name}[{label}]") for label in labels]
        self.flat.guards.append(Guard(written.form.op, written.name, path, predicate, tuple(sites)))
        results = [
            self._call(name, arguments, site) for name, site in zip(functions, sites, strict=True)
        ]
        merged: list[Tensor] = []
        for position, choices in enumerate(zip(*results, strict=True)):
            node = self._add(written, [predicate, *choices], control, path, position)
            merged.append((node.index, 0))
        return merged

    def _while(
        self, written: Written, data: list[Tensor], control: Sequence[int], path: tuple[str, ...]
    ) -> list[Tensor]:
        """Each loop variable is one node fed by its initial value and by the body's result."""
        attr = written.form.definition.attr
        variables = [self._add(written, [init], control, path, i) for i, init in enumerate(data)]
        heads: list[Tensor] = [(node.index, 0) for node in variables]
        cond_site = (*path, f"{written.name}[cond]")
        body_site = (*path, f"{written.name}[body]")
        predicate = self._call(attr["cond"].func.name, heads, cond_site)[0]
        self.flat.guards.append(Guard(written.form.op, written.name, path, predicate, (body_site,)))
        results = self._call(attr["body"].func.name, heads, body_site)
        for node, result in zip(variables, results, strict=True):
            # A loop invariant keeps its initial value as only input: `through` looks past it.
            if self.flat.through(result) != self.flat.through((node.index, 0)):
                node.inputs.append(result)
        return heads


def _program_order(nodes: Sequence[Any]) -> list[Written]:
    """`nodes` as written, but each after everything it waits for (bodies end with such a NoOp)."""
    found: list[Written] = []
    seen: set[str] = set()
    in_order = True
    own = {definition.name for definition in nodes}
    for definition in nodes:
        written = Written(definition.name, form_of(definition), [], [])
        for reference in definition.input:
            if reference[0] == "^":
                source = reference[1:]
                written.waits.append(source)
            else:
                source, rest = _reference(reference)
                written.references.append((source, rest))
            in_order = in_order and (source in seen or source not in own)
        seen.add(written.name)
        found.append(written)
    return found if in_order else _sorted(found)


def _sorted(written: list[Written]) -> list[Written]:
    position = {one.name: i for i, one in enumerate(written)}
    sources = [
        {position[n] for n in (*(n for n, _ in one.references), *one.waits) if n in position}
        for one in written
    ]
    waiting = [len(before) for before in sources]
    followers: list[list[int]] = [[] for _ in written]
    for i, before in enumerate(sources):
        for source in before:
            followers[source].append(i)
    ready = [i for i, count in enumerate(waiting) if count == 0]
    ordered: list[Written] = []
    while ready:
        i = heapq.heappop(ready)
        ordered.append(written[i])
        for follower in followers[i]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, follower)
    if len(ordered) < len(written):
        raise ValueError("the graph has a cycle outside tf.while_loop bodies and can't be read")
    return ordered


def _reference(text: str) -> Reference:
    name, _, rest = text.partition(":")
    return name, rest
