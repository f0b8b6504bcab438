"""Walks over a flat graph end, and soon."""

from __future__ import annotations

from typing import Any
from unittest import mock

import tensorflow as tf

from verify.graphs import FlatGraph, read
from verify.graphs.inlining import flatten_definition


def test_choices_by_earlier_choices_are_decided_once_each() -> None:
    """Nested, they took a time that doubled with each."""
    weight = tf.Variable(2.0)

    def nested(depth: int, flag: Any, y: Any) -> Any:
        if depth == 0:
            return y * weight
        nearer = tf.cond(flag, lambda: y[0] > depth, lambda: y[1] > depth)
        return tf.cond(flag, lambda: nested(depth - 1, nearer, y * weight), lambda: y)

    def train(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(nested(7, x[0] > 0, x))
        weight.assign_sub(tape.gradient(loss, weight))

    concrete = tf.function(train).get_concrete_function(tf.TensorSpec((4,)))
    seen_from = FlatGraph.seen_from
    with mock.patch.object(FlatGraph, "seen_from", autospec=True, side_effect=seen_from) as walks:
        flat = read(concrete, ()).flat
    assert walks.call_count < 50 * len(flat.nodes)


def test_ops_that_are_alike_have_one_form() -> None:
    def made(x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
        return [tf.sin(x) + 2.0, tf.sin(y) + 2.0, tf.sin(x[:1]) + 3.0]

    def traced() -> FlatGraph:
        return read(tf.function(made).get_concrete_function(*[tf.TensorSpec((2,))] * 2), ()).flat

    graphs = traced(), traced()
    for op, alike in (("Sin", (0, 0, 1)), ("AddV2", (0, 0, 1))):
        forms = [node.form for graph in graphs for node in graph.nodes if node.op == op]
        kinds = list(dict.fromkeys(forms))
        assert [kinds.index(form) for form in forms] == [*alike, *alike]
    constants = [node for node in graphs[0].nodes if node.op == "Const" and node.shapes == [()]]
    values = [graphs[0].constant((node.index, 0)) for node in constants]
    assert [float(value) for value in values if value is not None] == [2.0, 2.0, 3.0]
    assert constants[0].form is constants[1].form is not constants[2].form


def test_a_definition_is_read_and_left_as_it_is() -> None:
    concrete = tf.function(lambda x: tf.sin(x) + 2.0).get_concrete_function(tf.TensorSpec((2,)))
    definition = concrete.graph.as_graph_def(add_shapes=True)
    written = definition.SerializeToString(deterministic=True)
    flat = flatten_definition(definition, "sum")
    for node in flat.nodes:
        _ = node.settings, node.shapes, node.dtypes
    assert definition.SerializeToString(deterministic=True) == written
    by_name = {node.name: node for node in definition.node}
    for node in flat.nodes:
        own = type(node.form.definition)(name=node.name, input=by_name[node.name].input)
        own.MergeFrom(node.form.definition)
        assert own == by_name[node.name]
