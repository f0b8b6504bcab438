"""The flat graph: bodies inlined per call site, captures resolved, plain networkx outside."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

import verify
from verify.graphs import flatten
from verify.step import capture


@pytest.fixture
def variable() -> tf.Variable:
    return tf.Variable([1.0, 2.0], name="weight")


def test_a_body_called_twice_appears_twice(variable: tf.Variable) -> None:
    @tf.function
    def inner(x: tf.Tensor) -> tf.Tensor:
        return tf.sin(x * variable)

    @tf.function
    def outer(x: tf.Tensor) -> tf.Tensor:
        return inner(x) + inner(x + 1.0)

    graph = verify.graph(outer, tf.TensorSpec((2,)))
    sines = [node for node, op in graph.nodes(data="op") if op == "Sin"]
    assert len(sines) == 2
    assert len({graph.nodes[node]["path"] for node in sines}) == 2
    assert isinstance(graph, nx.MultiDiGraph)
    assert nx.is_directed_acyclic_graph(graph)


@pytest.mark.parametrize("kind", ["cond", "switch_case", "while"])
def test_writes_inside_branches_and_loops_find_their_variable(
    kind: str, variable: tf.Variable
) -> None:
    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        if kind == "cond":
            return tf.cond(x[0] > 0, lambda: variable.assign_add(x), lambda: x)
        if kind == "switch_case":
            return tf.switch_case(tf.constant(1), [lambda: x, lambda: variable.assign_add(x)])
        return tf.while_loop(lambda i: i < 3.0, lambda i: [i + variable.assign_add(x)[0]], [0.0])[0]

    flat = capture(step, tf.TensorSpec((2,))).flat
    (write,) = list(flat.writes())
    assert write[1].path == "weight"
    assert write[0].path[0] in {branch[0] for guard in flat.guards for branch in guard.branches}


def test_the_control_variable_of_a_branch_is_found() -> None:
    flag = tf.Variable(True, trainable=False, name="flag")

    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(flag, lambda: x + 1.0, lambda: x)

    (guard,) = verify.facts(step, tf.TensorSpec(())).guards
    assert guard.variables == ("flag",)


def test_public_attributes(variable: tf.Variable) -> None:
    @tf.function
    def step(x: tf.Tensor) -> None:
        variable.assign_sub(2.0 * x)

    graph = verify.graph(step, tf.TensorSpec((2,)))
    (write,) = [n for n, access in graph.nodes(data="access") if access == "write"]
    assert graph.nodes[write]["variable"] == "weight"
    kinds = {kind for *_, kind in graph.in_edges(write, data="kind")}
    assert "data" in kinds
    (product,) = [n for n, op in graph.nodes(data="op") if op == "Mul"]
    assert graph.nodes[product]["shapes"] == ((2,),)
    assert graph.nodes[product]["dtypes"] == ("float32",)
    assert graph.nodes[product]["attrs"]["T"] == "float32"
    constants = [attrs["value"] for _, attrs in graph.nodes(data="attrs") if "value" in attrs]
    np.testing.assert_array_equal(constants, [2.0])


def test_attributes_are_plain_python() -> None:
    @tf.function
    def step(x: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = tf.cond(x[0] > 0, lambda: tf.zeros((2, 3)), lambda: tf.ones((2, 3)))
        return chosen, tf.nn.avg_pool2d(image, 2, 1, "SAME")

    graph = verify.graph(step, tf.TensorSpec((2,)), tf.TensorSpec((1, 4, 4, 1)))
    found = [(op, graph.nodes[node]["attrs"]) for node, op in graph.nodes(data="op")]
    assert {"ksize": (1, 2, 2, 1), "padding": "SAME", "T": "float32"}.items() <= dict(found)[
        "AvgPool"
    ].items()
    plain = (str, int, float, bool, tuple, np.ndarray, type(None))
    assert all(isinstance(value, plain) for _, attrs in found for value in attrs.values())


def test_two_variables_of_one_name_are_told_apart() -> None:
    first, second = tf.Variable(1.0, name="v"), tf.Variable(2.0, name="v")

    @tf.function
    def step(x: tf.Tensor) -> None:
        first.assign_add(x)
        second.assign_add(x)

    flat = flatten(step.get_concrete_function(tf.TensorSpec(())))
    assert len({ref.key for _, ref in flat.writes()}) == 2
    assert len({ref.path for _, ref in flat.writes()}) == 2


def test_the_private_op_registry_is_where_we_look_for_it() -> None:
    definition = op_def_registry.get("Split")
    assert [argument.name for argument in definition.output_arg] == ["output"]
    assert op_def_registry.get("AddN").is_commutative
