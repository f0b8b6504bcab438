"""What a definition may not be, one by one, and how that is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import verify
from tests.verify.graphs.mutants import originals
from verify.graphs import Folder
from verify.graphs.inlining import called, flatten_definition


def _node(made: Any, op: str) -> Any:
    """The first such node that is inlined: of others nothing is read."""
    library = {function.signature.name: function.node_def for function in made.library.function}
    bodies = [made.node]
    for body in bodies:
        for node in body:
            if node.op in (op, f"Stateless{op}"):
                return node
            bodies += [library[name] for name in called(node, library)]
    raise LookupError(op)


def _no_value(made: Any) -> None:
    del _node(made, "Const").attr["value"]


def _no_branch(made: Any) -> None:
    del _node(made, "If").attr["then_branch"]


def _no_loop_body(made: Any) -> None:
    del _node(made, "While").attr["body"]


def _no_branches(made: Any) -> None:
    node = next(n for n in made.node if n.op in ("Case", "StatelessCase"))
    node.attr["branches"].list.Clear()
    node.attr["branches"].list.SetInParent()


def _dangling(made: Any) -> None:
    _node(made, "MatMul").input[0] = "gone:product:0"


def _beyond(made: Any) -> None:
    made.node[-1].input[0] = made.node[0].name + ":7"


def _too_few(made: Any) -> None:
    del _node(made, "While").input[-1]


def _short(made: Any) -> None:
    _node(made, "Const").attr["value"].tensor.tensor_content = b"\x00" * 3


def _absurd(made: Any) -> None:
    tensor = _node(made, "Const").attr["value"].tensor
    tensor.ClearField("tensor_shape")
    tensor.tensor_shape.dim.add(size=1 << 40)


def _other_dtype(made: Any) -> None:
    _node(made, "MatMul").attr["T"].type = 4000


def _newline(made: Any) -> None:
    _node(made, "Identity").name = "a\n::error::forged"


def _twice(made: Any) -> None:
    made.node.add().CopyFrom(made.node[0])


def _unknown(made: Any) -> None:
    _node(made, "MatMul").op = "Gone"


def _shapes(made: Any) -> None:
    del _node(made, "MatMul").attr["_output_shapes"].list.shape[:]
    _node(made, "MatMul").attr["_output_shapes"].i = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_no_value, "lacks its attribute value"),
        (_no_branch, "is called by .* and missing"),
        (_no_loop_body, "is called by .* and missing"),
        (_no_branches, "has no branches"),
        (_dangling, "its input gone:product:0 is not there"),
        (_beyond, "its input .*:7 is not there"),
        (_too_few, "inputs and needs"),
        (_short, "3 bytes are no"),
        (_absurd, "not written out|no tensor has such a shape|bytes are no"),
        (_other_dtype, "4000 is no dtype"),
        (_newline, r"'a\\\\n::error::forged' is no name of a node"),
        (_twice, "has two nodes"),
        (_unknown, "there is no op Gone"),
        (_shapes, "_output_shapes is not one for each of its outputs"),
    ],
)
def test_what_is_wrong_is_told(change: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    made = tf.compat.v1.GraphDef()
    made.CopyFrom(originals()[0])
    change(made)
    path = tmp_path / "step.pb"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ValueError, match=message) as error:
        verify.graph(str(path))
    assert str(path) in str(error.value)
    with pytest.raises(ValueError, match=message):
        verify.graph(made)


def test_an_untrue_shape_is_no_reason_to_fill_the_memory() -> None:
    """Constants are folded; what they make is as large as they say, whatever a file says."""
    graph = tf.Graph()
    with graph.as_default():
        huge = tf.fill([1 << 20, 1 << 20], True)
    made = graph.as_graph_def(add_shapes=True)
    shape = (
        next(node for node in made.node if node.op == "Fill").attr["_output_shapes"].list.shape[0]
    )
    for dimension in shape.dim:
        dimension.size = 2
    flat = flatten_definition(made, "step")
    flat.foreign = True
    index = next(node.index for node in flat.nodes if node.op == "Fill")
    assert flat.shape((index, 0)) == (2, 2) != tuple(huge.shape)
    assert Folder(flat).value((index, 0)) is None


def test_what_can_not_be_computed_is_no_constant() -> None:
    graph = tf.Graph()
    with graph.as_default():
        tf.constant(1) // tf.constant(0)
    flat = flatten_definition(graph.as_graph_def(add_shapes=True), "step")
    index = next(node.index for node in flat.nodes if node.op == "FloorDiv")
    assert Folder(flat).value((index, 0)) is None


def test_what_is_left_to_defaults_is_as_if_it_were_written() -> None:
    """As TensorFlow saves graphs with ``strip_default_attrs``; mutant 2053 had it."""
    graph = tf.Graph()
    with graph.as_default():
        tf.raw_ops.Shape(input=tf.raw_ops.Placeholder(dtype=tf.float32, shape=[2]))
    made = graph.as_graph_def(add_shapes=True)
    del made.node[1].attr["out_type"]
    before = made.SerializeToString(deterministic=True)
    assert verify.graph(made).nodes["Shape"]["dtypes"] == ("int32",)
    assert made.SerializeToString(deterministic=True) == before


def _chain(length: int) -> Any:
    """In a branch, choices of which each decides the next."""

    @tf.function
    def step(x: Any) -> Any:
        return tf.cond(x, lambda: tf.cond(x, lambda: x, lambda: ~x), lambda: x)

    made = step.get_concrete_function(tf.TensorSpec((), tf.bool)).graph.as_graph_def()
    (body,) = (
        function
        for function in made.library.function
        if "true" in function.signature.name and any("If" in n.op for n in function.node_def)
    )
    first = next(node for node in body.node_def if "If" in node.op)
    previous = first.name
    for number in range(length):
        node = body.node_def.add()
        node.CopyFrom(first)
        node.name = f"choice{number}"
        node.input[0] = f"{previous}:output:0"
        previous = node.name
    return made


def test_a_chain_of_choices_ends() -> None:
    assert verify.graph(_chain(20))
    assert verify.graph(_chain(2000))
