"""What a graph computes, op by op, is what TensorFlow computes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.graphs import Node, VariableRef, flatten, key_of
from verify.match import Drawn, Evaluation, NoValueError, Plan

X = np.arange(1, 7, dtype=np.float32).reshape(3, 2) / 4
NUMBER = tf.Variable(1.5, name="number")
ROWS = tf.Variable(np.eye(4, 2, dtype=np.float32), name="rows")


class Given:
    """Feeds what a test says: the variables as they are, and the function's arguments."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = list(arguments)
        self.of_node: dict[int, Any] = {}

    def variable(self, variable: VariableRef) -> Any:
        known = {key_of(v): v for v in (NUMBER, ROWS)}
        return known[variable.key].read_value()

    def argument(self, node: Node, output: int) -> Any:
        return self.of_node[node.index]

    def drawn(self, node: Node, inputs: Sequence[Any], turn: tuple[int, ...]) -> Sequence[Any]:
        return [tf.fill(node.shapes[0], 0.25 + sum(turn))]


def evaluated(function: Callable[..., Any], *arguments: Any) -> list[np.ndarray[Any, Any]]:
    """The results of a traced function, computed from its flat graph."""
    tensors = [tf.constant(argument) for argument in arguments]
    flat = flatten(tf.function(function).get_concrete_function(*tensors))
    feed = Given()
    feed.of_node = dict(zip(flat.arguments, tensors, strict=True))
    evaluation = Evaluation(Plan(flat), feed)
    return [evaluation.value(output).numpy() for output in flat.outputs]


def agrees(function: Callable[..., Any], *arguments: Any) -> None:
    held = [variable.numpy() for variable in (NUMBER, ROWS)]
    found = evaluated(function, *arguments)
    for variable, value in zip((NUMBER, ROWS), held, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)  # nothing was written
    try:
        expected = tf.nest.flatten(tf.function(function)(*map(tf.constant, arguments)))
    finally:
        for variable, value in zip((NUMBER, ROWS), held, strict=True):
            variable.assign(value)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-6)


def chosen(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.reduce_sum(x) > 3, lambda: x * NUMBER, lambda: x - 1)


def one_of_three(x: tf.Tensor, i: tf.Tensor) -> tf.Tensor:
    return tf.switch_case(i, [lambda: x, lambda: x * 2, lambda: x * NUMBER])


def turned(x: tf.Tensor) -> tf.Tensor:
    def body(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return i + 1, total + x * tf.cast(i, tf.float32) * NUMBER

    return tf.while_loop(lambda i, _: i < 5, body, (tf.constant(0), tf.zeros_like(x)))[1]


def turned_within_turns(x: tf.Tensor) -> tf.Tensor:
    total = tf.zeros_like(x)
    for i in tf.range(3):
        for j in tf.range(i):
            if j % 2 == 0:
                total += x * tf.cast(i + j, tf.float32)
    return total


def differentiated_through_a_loop(x: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = turned(x * x) / 30
        y = tf.map_fn(lambda row: tf.tanh(row) * NUMBER, y)
    return tape.gradient(y, x)


def called(x: tf.Tensor) -> tf.Tensor:
    inner = tf.function(lambda z: z @ tf.transpose(ROWS) + NUMBER)
    return inner(x) + inner(2 * x)


def written_and_read(x: tf.Tensor) -> tf.Tensor:
    before = NUMBER * 1
    NUMBER.assign_add(2)
    NUMBER.assign_sub(tf.reduce_sum(x))
    return before + NUMBER * x


def written_in_a_branch(x: tf.Tensor) -> tf.Tensor:
    if tf.reduce_sum(x) > 100:
        NUMBER.assign(7.0)
    else:
        NUMBER.assign(NUMBER * 2)
    return x * NUMBER


def scattered(x: tf.Tensor) -> tf.Tensor:
    ROWS.scatter_sub(tf.IndexedSlices(x, tf.constant([0, 2, 0])))
    return tf.gather(ROWS, [2, 0, 1])


def written_in_place(x: tf.Tensor) -> tf.Tensor:
    empty = tf.raw_ops.Empty(shape=(3, 2), dtype=tf.float32)
    first = tf.raw_ops.InplaceUpdate(x=empty, i=[0, 1, 2], v=x)
    again = tf.raw_ops.InplaceAdd(x=first + 0, i=[1], v=x[:1])
    return first + again


def in_half_precision(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(x, tf.float16) * tf.cast(NUMBER, tf.float16), tf.float32)


def convolved(x: tf.Tensor) -> tf.Tensor:
    image = tf.reshape(x, (1, 3, 2, 1))
    return tf.nn.conv2d(image, tf.ones((2, 2, 1, 3)), 1, "SAME")


def compiled(x: tf.Tensor) -> tf.Tensor:
    return tf.function(lambda z: tf.nn.softmax(z * NUMBER), jit_compile=True)(x)


@pytest.mark.parametrize(
    "function",
    [
        chosen,
        turned,
        turned_within_turns,
        differentiated_through_a_loop,
        called,
        written_and_read,
        written_in_a_branch,
        scattered,
        written_in_place,
        in_half_precision,
        convolved,
        compiled,
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_graph_computes_what_its_function_does(function: Callable[..., Any], sign: int) -> None:
    if function is in_half_precision:
        sign *= 2  # exact in eleven bits
    agrees(function, X * np.float32(sign))


@pytest.mark.parametrize("index", [0, 1, 2, 7, -1])
def test_one_of_several_branches(index: int) -> None:
    agrees(one_of_three, X, index)


@settings(max_examples=20)
@given(turns=st.integers(0, 6), start=st.floats(-2, 2, width=32))
def test_a_loop_takes_as_many_turns_as_its_data_say(turns: int, start: float) -> None:
    def powers(n: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(n):
            z = z * z - NUMBER
        return z

    agrees(powers, turns, np.float32(start) / 2)


def test_real_numbers_are_of_double_precision() -> None:
    (value,) = evaluated(lambda x: (x + 1e-12) - x, X)
    np.testing.assert_allclose(value, 1e-12, rtol=1e-3)


def test_what_is_drawn_is_fed_by_turn() -> None:
    def drawn(x: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(3):
            x += tf.random.normal((3, 2))
        return x

    np.testing.assert_allclose(evaluated(drawn, X)[0], X + 3 * 0.25 + 0 + 1 + 2)


def test_a_cut_tensor_is_not_computed() -> None:
    def square(x: tf.Tensor) -> tf.Tensor:
        return tf.square(tf.py_function(lambda z: z, [x], tf.float32))

    flat = flatten(tf.function(square).get_concrete_function(tf.constant(X)))
    output = flat.outputs[0]
    with pytest.raises(NoValueError, match="stateful EagerPyFunc"):
        Evaluation(Plan(flat), Drawn(0)).value(output)
    before = flat.node(output).data[0]
    evaluation = Evaluation(Plan(flat), Drawn(0), {before: tf.constant(3.0)})
    assert evaluation.value(output).numpy() == 9


def test_a_write_in_a_loop_is_not_followed() -> None:
    def counted(x: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(3):
            NUMBER.assign_add(1.0)
        return x * NUMBER

    with pytest.raises(NoValueError, match="writes number in a loop"):
        evaluated(counted, X)


def test_a_read_in_the_loop_that_writes_is_not_followed() -> None:
    def summed(x: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(3):
            x += NUMBER
            NUMBER.assign_add(1.0)
        return x

    with pytest.raises(NoValueError, match="writes number in a loop"):
        evaluated(summed, X)


def test_within_a_loop_a_value_is_that_of_the_first_turn() -> None:
    """As in a train function that makes several steps an execution."""

    def stepped(x: tf.Tensor) -> tf.Tensor:
        for i in tf.range(2, 5):
            NUMBER.assign_add(1.0)
            x = tf.tanh(x) * NUMBER * tf.cast(i, tf.float32)
            NUMBER.assign(0.0)
        return x

    flat = flatten(tf.function(stepped).get_concrete_function(tf.constant(X)))
    (tanh,) = (node for node in flat.nodes if node.op == "Tanh")
    last = [node for node in flat.nodes if node.op == "Mul"][-1]
    evaluation = Evaluation(Plan(flat), Given(), {(tanh.index, 0): tf.constant(X)})
    np.testing.assert_allclose(evaluation.value((last.index, 0)).numpy(), X * 2.5 * 2)


def test_an_endless_loop_ends() -> None:
    def endless(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda z: tf.reduce_all(z > 0), lambda z: (z * 1.0001,), (x,))[0]

    with pytest.raises(NoValueError, match="over 10000 turns"):
        evaluated(endless, X)
