"""What a gradient passes until its variable is written, and which updates are made alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import tensorflow as tf

from verify.flow import Flow, Programs, rows_of, ways
from verify.graphs import flatten

Write = Callable[[Any, Any], Any]
"""(variable, its gradient)"""


def flow(*writes: Write, regularised: bool = False, columns: Sequence[int] = ()) -> Flow:
    """Of a step with one variable for each write, called w0, w1 and so on."""
    sizes = columns or [3] * len(writes)
    weights = [tf.Variable(tf.ones((2, size)), name=f"w{i}") for i, size in enumerate(sizes)]

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_mean((x @ weight - 1.0) ** 2) for weight in weights])
            if regularised:
                loss += tf.add_n([tf.reduce_sum(weight**2) for weight in weights])
        for write, weight, gradient in zip(
            writes, weights, tape.gradient(loss, weights), strict=True
        ):
            write(weight, tf.identity(gradient, name="gradient"))

    return Flow(flatten(train.get_concrete_function(tf.TensorSpec((8, 2)))))


def passed(*writes: Write, **options: Any) -> list[list[str]]:
    """The ops on the way of each variable's gradient."""
    found = flow(*writes, **options)
    return [[found.flat.node(tensor).op for tensor in way] for _, way in ways(found, found.trained)]


def test_from_backpropagation_to_the_write() -> None:
    (way,) = passed(lambda w, g: w.assign_sub(0.1 * tf.sin(g)))
    assert way == ["MatMul", "Sin", "Mul"]


def test_a_norm_is_not_on_the_way() -> None:
    """It comes through a number."""
    (way,) = passed(lambda w, g: w.assign_sub(g * tf.minimum(1.0, 0.5 / tf.norm(tf.sin(g)))))
    assert way == ["MatMul", "Mul"]


def test_what_goes_around_is_not_on_the_way() -> None:
    (way,) = passed(lambda w, g: w.assign_sub(0.1 * (tf.sin(g) + tf.cos(g))))
    assert way == ["MatMul", "AddV2", "Mul"]


def test_what_an_optimizer_keeps_is_on_the_way() -> None:
    kept = tf.Variable(tf.zeros((2, 3)), trainable=False)

    def momentum(weight: Any, gradient: Any) -> None:
        weight.assign_sub(0.1 * kept.assign(0.9 * kept + tf.sin(gradient)))

    (way,) = passed(momentum)
    assert way[:2] == ["MatMul", "Sin"]
    assert way[-1] == "Mul"
    assert "AddV2" in way


def test_a_regulariser_is_a_part_of_the_gradient() -> None:
    (plain,) = passed(lambda w, g: w.assign_sub(tf.sin(g)))
    (regularised,) = passed(lambda w, g: w.assign_sub(tf.sin(g)), regularised=True)
    assert plain == ["MatMul", "Sin"]
    assert regularised[-1] == "Sin"
    assert regularised[0] in ("AddN", "AddV2")


def test_each_has_a_way_of_its_own() -> None:
    found = flow(lambda w, g: w.assign_sub(tf.sin(g)), lambda w, g: w.assign_sub(tf.cos(g)))
    all_ways = {update.variable.path[:2]: way for update, way in ways(found, found.trained)}
    assert all_ways.keys() == {"w0", "w1"}
    assert {*all_ways["w0"]}.isdisjoint(all_ways["w1"])


def test_the_way_of_rows_begins_with_them() -> None:
    rows = tf.Variable(tf.ones((7, 2)), name="rows")

    @tf.function(autograph=False)
    def train(index: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(rows, index) ** 2)
        gradient = tape.gradient(loss, rows)
        rows.scatter_sub(tf.IndexedSlices(0.1 * gradient.values, gradient.indices))

    found = Flow(flatten(train.get_concrete_function(tf.TensorSpec((8,), tf.int32))))
    assert len(found.trained) == 1
    ((_, (rows_first, *others)),) = ways(found, found.trained)
    assert found.flat.shape(rows_first) == (8, 2)
    assert found.flat.node(others[-1]).op == "Mul"
    placed = rows_of(found, rows_first, found.placing)
    assert placed is not None
    assert [found.flat.dtype(tensor) for tensor in placed.numbers] == ["int32"]


@pytest.mark.parametrize("numbers", [1, 2])
@pytest.mark.parametrize("halved", [False, True])
def test_all_parts_of_the_gradient_of_a_number_are_followed(halved: bool, numbers: int) -> None:
    """One of them may lie nearer to the write; a norm leads to those of other numbers."""
    weight = tf.Variable(tf.ones((2, 1)), name="weight")
    biases = [tf.Variable([0.5], name=f"bias{i}") for i in range(numbers)]

    def score(x: Any) -> Any:
        return x @ weight + tf.add_n([(i + 1.0) * bias for i, bias in enumerate(biases)])

    @tf.function(autograph=False)
    def train(real: Any, fake: Any) -> None:
        with tf.GradientTape() as tape:
            told = tf.reduce_mean(tf.nn.softplus(-score(real)))
            told += tf.reduce_mean(tf.nn.softplus((0.5 if halved else 1.0) * score(fake)))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(told, [weight, *biases]), 1.0)
        for variable, gradient in zip([weight, *biases], gradients, strict=True):
            variable.assign_sub(gradient)

    spec = tf.TensorSpec((None, 2))
    found = Flow(flatten(train.get_concrete_function(spec, spec)))
    begun = {update.variable.path: way[0] for update, way in ways(found, found.trained)}
    assert {*begun} == {"weight", *(f"bias{i}" for i in range(numbers))}
    fed = {*found.flat.arguments}
    assert all(fed <= found.ancestors([index]) for index, _ in begun.values())


@pytest.mark.parametrize("units", [1, 2])
def test_whether_all_is_finite_is_no_gradient(units: int) -> None:
    """What is added where something is not is as large as a number, and chosen by a flag."""
    weight, bias = tf.Variable(tf.ones((2, units))), tf.Variable(tf.zeros(units), name="bias")

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x @ weight + bias) ** 2)
        gradients = tape.gradient(loss, [weight, bias])
        for variable, gradient in zip([weight, bias], gradients, strict=True):
            hidden = tf.where(tf.reduce_all(tf.math.is_finite(gradient)), 0.0, float("nan"))
            variable.assign_sub(tf.clip_by_value(gradient, -1.0, 1.0) + hidden)

    found = Flow(flatten(train.get_concrete_function(tf.TensorSpec((8, 2)))))
    passed = {
        u.variable.path: [found.flat.node(t).op for t in way]
        for u, way in ways(found, found.trained)
    }
    assert passed["bias"][-3:] == ["Minimum", "Maximum", "AddV2"]
    assert len(passed["bias"]) > 3


def test_numbers_that_are_added_up_and_then_clipped_to_a_common_norm() -> None:
    """The norm lies nearer to the write than where the gradient of each begins."""
    numbers = [tf.Variable([1.0], name=f"w{i}") for i in range(2)]
    sums = [tf.Variable([0.0], trainable=False) for _ in numbers]

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.add_n([(i + 1.0) * w * x for i, w in enumerate(numbers)]) ** 2)
        found = tape.gradient(loss, numbers)
        means = [total.assign_add(g) / 2.0 for total, g in zip(sums, found, strict=True)]
        clipped, _ = tf.clip_by_global_norm(means, 1.0)
        for variable, gradient in zip(numbers, clipped, strict=True):
            variable.assign_sub(0.1 * gradient)

    found = Flow(flatten(train.get_concrete_function(tf.TensorSpec((8,)))))
    begun = {update.variable.path: way[0] for update, way in ways(found, found.trained)}
    assert {*begun} == {"w0", "w1"}
    clips = found.descendants(i for i, node in enumerate(found.flat.nodes) if node.op == "L2Loss")
    assert clips.isdisjoint(index for index, _ in begun.values())


# -- programs ------------------------------------------------------------------------------------


def momentum(decay: float) -> Write:
    kept = tf.Variable(tf.zeros((2, 3)), trainable=False)
    return lambda w, g: w.assign_sub(0.1 * kept.assign(decay * kept + g))


def shared(kept: Any) -> Write:
    return lambda w, g: w.assign_sub(0.1 * kept.assign(0.9 * kept + g))


def reshaped(*order: int) -> Write:
    """By way of another shape, in which 0 and 1 stand for the rows and columns of the variable."""

    def write(w: Any, g: Any) -> Any:
        shape = [w.shape[axis] if axis in (0, 1) else axis for axis in order]
        return w.assign_sub(0.1 * tf.reshape(tf.sin(tf.reshape(g, shape)), w.shape))

    return write


def digests(*writes: Write, columns: Sequence[int] = ()) -> list[bytes]:
    found = flow(*writes, columns=columns)
    known = list(ways(found, found.trained))
    programs = Programs(found, {update.variable.key: way[0] for update, way in known})
    return [programs.of(update.variable) for update, _ in known]


def test_the_same_ops_make_the_same_digest() -> None:
    one, other = digests(momentum(0.9), momentum(0.9))
    assert one == other


@pytest.mark.parametrize(
    "other",
    [
        momentum(0.8),
        lambda w, g: w.assign_sub(0.1 * g),
        lambda w, g: w.assign_add(0.1 * g),
        lambda w, g: w.assign_sub(0.1 * tf.sin(g)),
        lambda w, g: w.assign_sub(0.1 * (g + 0.01 * w)),
    ],
)
def test_other_ops_or_constants_make_another_digest(other: Write) -> None:
    one, another = digests(momentum(0.9), other)
    assert one != another


def test_shapes_count_in_terms_of_the_variable() -> None:
    one, larger, turned = digests(
        reshaped(-1, 0, 1), reshaped(-1, 0, 1), reshaped(-1, 1, 0), columns=(3, 5, 3)
    )
    assert one == larger
    assert one != turned
    # As many as the columns of the one are no columns of the other.
    one, larger = digests(reshaped(3, -1), reshaped(3, -1), columns=(3, 6))
    assert one != larger


def test_one_state_for_two_variables_is_no_state_of_each() -> None:
    kept = tf.Variable(tf.zeros((2, 3)), trainable=False)
    one, other = digests(shared(kept), shared(kept))
    assert one != other
