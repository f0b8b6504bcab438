"""Whether a graph definition from elsewhere is one: checked once, before anything reads it.

A file may hold whatever its author liked. What is behind this border may rely on it: each node has
the attributes that its op needs, each input is an output of something, calls and branches fit the
functions that they call, and a constant is as large as it says. One pass, linear in the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

from verify.graphs.flat_graph import CALLS, CASES, IFS, WHILES
from verify.graphs.inlining import called
from verify.graphs.op_definitions import op_definition, output_offsets, output_sizes
from verify.printable import printable

_MOST_OUTPUTS = 1 << 16  # of one op
_MOST_DIMENSIONS = 254  # as TensorFlow
_MOST_ELEMENTS = 1 << 50
_MOST_BYTES = 1 << 28  # of a constant that says one value for many elements

_FIELDS = {"string": "s", "int": "i", "float": "f", "bool": "b"}
_VALUES = {
    "float_val": 1,
    "double_val": 1,
    "int_val": 1,
    "string_val": 1,
    "scomplex_val": 2,
    "int64_val": 1,
    "bool_val": 1,
    "dcomplex_val": 2,
    "half_val": 1,
    "uint32_val": 1,
    "uint64_val": 1,
    "float8_val": 1,
}


def check_definition(definition: Any) -> None:
    """Looks at all of a ``GraphDef``, and writes out what it leaves to its ops' defaults.

    Raises:
        ValueError: it is none that could run; the message names the node.
    """
    library: dict[str, Any] = {}
    for function in definition.library.function:
        name = function.signature.name
        _need(name not in library, f"there are two functions {printable(name)}")
        library[name] = function
    _Body("the graph", library, {}).check(definition.node)
    bodies = {name: function.node_def for name, function in library.items()}
    inlined: set[str] = set()
    left = [definition.node]
    while left:
        new = {name for node in left.pop() for name in called(node, bodies)} - inlined
        inlined |= new
        left += [bodies[name] for name in new if name in bodies]
    # The others are never read: TensorFlow's own business.
    for name in sorted(inlined & library.keys()):
        function = library[name]
        place = f"the function {printable(name)}"
        arguments: dict[str, int] = {}
        for argument in function.signature.input_arg:
            _check_name(argument.name, place)
            _need(argument.name not in arguments, f"{place} has two arguments {argument.name}")
            _need(_plain(argument), f"{place}: its argument {argument.name} has no plain type")
            arguments[argument.name] = 1
        body = _Body(place, library, arguments)
        body.check(function.node_def)
        for result in function.signature.output_arg:
            _need(_plain(result), f"{place}: its result {printable(result.name)} has no plain type")
            _need(result.name in function.ret, f"{place} does not say what it returns")
            body.check_input(place, function.ret[result.name])


class _Body:
    """The nodes of the graph or of one function."""

    def __init__(
        self, place: str, library: Mapping[str, Any], arguments: Mapping[str, int]
    ) -> None:
        self.place, self.library, self.arguments = place, library, arguments
        self.nodes: dict[str, Any] = {}
        self._sizes: dict[str, int] = dict(arguments)

    def check(self, nodes: Iterable[Any]) -> None:
        for node in nodes:
            _check_name(node.name, self.place)
            twice = node.name in self.nodes or node.name in self.arguments
            _need(not twice, f"{self.place} has two nodes {node.name}")
            self.nodes[node.name] = node
        for node in self.nodes.values():
            self._check_attributes(node, f"{self.place}: {node.name}")
            self._sizes[node.name] = self._output_count(node, f"{self.place}: {node.name}")
        for node in self.nodes.values():
            self._check_wiring(node, f"{self.place}: {node.name}")

    def check_input(self, place: str, reference: str) -> None:
        """That a reference means an output of a node or an argument."""
        name, _, rest = reference.partition(":")
        text = f"{place}: its input {printable(reference)} is not there"
        _need(name in self._sizes, text)
        argument, _, within = rest.partition(":")
        if not rest:
            _need(self._sizes[name] > 0, text)
            return
        number = within or argument
        _need(number.isascii() and number.isdigit() and len(number) < 9, text)
        first, size = 0, self._sizes[name]
        if within:
            _need(name in self.nodes, text)
            node = self.nodes[name]
            if node.op in self.library:
                names = [one.name for one in self.library[node.op].signature.output_arg]
                _need(argument in names and int(number) == 0, text)
                return
            sizes = output_sizes(node)
            _need(argument in sizes, text)
            first, size = output_offsets(node)[argument], sizes[argument]
            _need(int(number) < size, text)
        _need(first + int(number) < self._sizes[name], text)

    def _check_attributes(self, node: Any, place: str) -> None:
        for name, value in node.attr.items():
            _check_value(value, f"{place}: its attribute {printable(name)}")
        if node.op in self.library:
            return
        op_def = op_definition(node.op)
        _need(op_def is not None, f"{place}: there is no op {printable(node.op)}")
        for attr in op_def.attr:
            if attr.name not in node.attr:
                _need(attr.HasField("default_value"), f"{place} lacks its attribute {attr.name}")
                node.attr[attr.name].CopyFrom(attr.default_value)
                continue
            value = node.attr[attr.name]
            field = "list" if attr.type.startswith("list(") else _FIELDS.get(attr.type, attr.type)
            _need(
                value.WhichOneof("value") == field,
                f"{place}: its attribute {attr.name} is no {attr.type}",
            )
            if attr.has_minimum and attr.type == "int":
                enough = value.i >= attr.minimum
                _need(enough, f"{place}: its attribute {attr.name} is less than {attr.minimum}")
        if node.op == "Const":
            value = node.attr["value"].tensor
            same = value.dtype == node.attr["dtype"].type
            _need(same, f"{place}: its value is not of its dtype")

    def _output_count(self, node: Any, place: str) -> int:
        if node.op in self.library:
            count = len(self.library[node.op].signature.output_arg)
        else:
            for argument in op_definition(node.op).output_arg:
                size = node.attr[argument.number_attr].i if argument.number_attr else 0
                _need(0 <= size <= _MOST_OUTPUTS, f"{place} has {size} outputs")
            count = sum(output_sizes(node).values())
        if "_output_shapes" in node.attr:
            shapes = node.attr["_output_shapes"]
            fits = shapes.WhichOneof("value") == "list" and len(shapes.list.shape) in (0, count)
            _need(fits, f"{place}: its attribute _output_shapes is not one for each of its outputs")
        return count

    def _check_wiring(self, node: Any, place: str) -> None:
        given = 0
        for reference in node.input:
            if reference.startswith("^"):
                there = reference[1:] in self.nodes or reference[1:] in self.arguments
                _need(there, f"{place}: its input {printable(reference)} is not there")
            else:
                given += 1
                self.check_input(place, reference)
        if node.op in self.library:
            self._check_call(place, node.op, given, self._sizes[node.name])
            return
        wanted = 0
        for argument in op_definition(node.op).input_arg:
            if argument.number_attr:
                wanted += node.attr[argument.number_attr].i
            elif argument.type_list_attr:
                wanted += len(node.attr[argument.type_list_attr].list.type)
            else:
                wanted += 1
        _need(given == wanted, f"{place} has {given} inputs and needs {wanted}")
        outputs = self._sizes[node.name]
        if node.op in CALLS:
            self._check_call(place, node.attr["f"].func.name, given, outputs)
        elif node.op in IFS:
            for branch in ("then_branch", "else_branch"):
                self._check_call(place, node.attr[branch].func.name, given - 1, outputs)
        elif node.op in CASES:
            branches = node.attr["branches"].list.func
            _need(len(branches) > 0, f"{place} has no branches")
            for branch in branches:
                self._check_call(place, branch.name, given - 1, outputs)
        elif node.op in WHILES:
            self._check_call(place, node.attr["cond"].func.name, given, 1)
            self._check_call(place, node.attr["body"].func.name, given, given)

    def _check_call(self, place: str, name: str, given: int, results: int) -> None:
        _need(
            name in self.library, f"the function {printable(name)} is called by {place} and missing"
        )
        signature = self.library[name].signature
        takes, gives = len(signature.input_arg), len(signature.output_arg)
        shown = printable(name)
        _need(takes == given, f"{place} gives {given} values to {shown}, which takes {takes}")
        _need(gives == results, f"{place} wants {results} results of {shown}, which gives {gives}")


def _plain(argument: Any) -> bool:
    written = argument.number_attr or argument.type_list_attr or argument.type_attr
    return not written and _is_dtype(argument.type)


def _is_dtype(enum: int) -> bool:
    return enum in _DTYPES


def _dtypes() -> frozenset[int]:
    found = set()
    for enum in range(1, 200):  # those of reference variables are 100 above the others
        try:
            tf.as_dtype(enum)
        except TypeError:
            continue
        found.add(enum)
    return frozenset(found)


_DTYPES = _dtypes()


def _check_name(name: str, place: str) -> None:
    fine = name and not name.startswith("^") and ":" not in name and printable(name) == name
    _need(bool(fine), f"{place}: {printable(name)!r} is no name of a node")


def _check_value(value: Any, place: str) -> None:
    """That an attribute of any kind holds nothing absurd."""
    field = value.WhichOneof("value")
    _need(field is not None, f"{place} has no value")
    if field == "list":
        for name, check in _CHECKS.items():
            for one in getattr(value.list, name):
                check(one, place)
    elif field in _CHECKS:
        _CHECKS[field](getattr(value, field), place)


def _check_type(enum: int, place: str) -> None:
    _need(_is_dtype(enum), f"{place}: {enum} is no dtype")


def _check_shape(shape: Any, place: str) -> None:
    sizes = [dim.size for dim in shape.dim]
    known = [size for size in sizes if size > 0]
    fine = len(sizes) <= _MOST_DIMENSIONS and min(sizes, default=0) >= -1
    _need(fine and math.prod(known) <= _MOST_ELEMENTS, f"{place}: no tensor has such a shape")


def _check_tensor(tensor: Any, place: str) -> None:
    _check_type(tensor.dtype, place)
    dtype = tf.as_dtype(tensor.dtype)
    shape = tensor.tensor_shape
    _check_shape(shape, place)
    sizes = [dim.size for dim in shape.dim]
    _need(not shape.unknown_rank and -1 not in sizes, f"{place}: a constant has a known shape")
    count = math.prod(sizes)
    # Of a variant or a resource nothing is read.
    if dtype in (tf.variant, tf.resource):
        return
    content = len(tensor.tensor_content)
    written = max(len(getattr(tensor, name)) // each for name, each in _VALUES.items())
    # Four bits take a byte each.
    width = 8 if dtype == tf.string else max(1, dtype.size)
    if content and dtype != tf.string:
        fits = content == count * width
        _need(fits, f"{place}: {content} bytes are no {count} values of {dtype.name}")
        return
    _need(written <= count, f"{place}: there are {written} values for {count} elements")
    _need(
        count <= written or count * width <= _MOST_BYTES,
        f"{place}: {count} elements are more than {_MOST_BYTES} bytes, and not written out",
    )


_CHECKS: Mapping[str, Callable[[Any, str], None]] = {
    "type": _check_type,
    "shape": _check_shape,
    "tensor": _check_tensor,
}


def _need(fine: bool, otherwise: str) -> None:
    if not fine:
        raise ValueError(otherwise)
