"""`conditions=`: by which expression of counters a step chooses."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

import verify
from tests.verify.updates import rejected
from verify.kinds import KEYWORDS

X = tf.TensorSpec((4,))


@pytest.fixture(scope="module")
def chosen() -> Any:
    """A step that sets a flag, by which it chooses, from two counters."""
    flag = tf.Variable(False, trainable=False, name="flag")
    steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps")
    epochs = tf.Variable(0, trainable=False, dtype=tf.int64, name="epochs")
    weight = tf.Variable(1.0, name="weight")

    @tf.function
    def train(x: Any) -> None:
        flag.assign(tf.logical_and(steps % 10 < 8, epochs != 2))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x * weight) ** 2)
        slope = tape.gradient(loss, weight)
        if flag:
            weight.assign_sub(0.1 * slope)
        else:
            weight.assign_sub(0.2 * slope)
        steps.assign_add(1)

    return train


def test_facts(chosen: Any) -> None:
    (fact,) = verify.facts(chosen, X).conditions
    assert str(fact) == "flag where ((steps % 10) < 8) and (epochs != 2)"


@pytest.mark.parametrize(
    "text",
    [
        "((steps % 10) < 8) and (epochs != 2)",
        "steps % 10 < 8 and epochs != 2",
        "not (epochs == 2 or steps % 10 >= 8)",
        "steps - 10 * (steps // 10) <= 7 and not epochs == 2",
        "8 > steps % 10 >= 0 and (epochs < 2 or epochs > 2)",
    ],
)
def test_the_same_in_other_words(text: str, chosen: Any) -> None:
    verify.assert_graph(chosen, X, conditions={"flag": text})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps % 10 <= 8 and epochs != 2", "they differ where epochs = 0, steps = 8"),
        ("steps % 10 < 8", "they differ where epochs = 2, steps = 0"),
        ("steps % 10 < 8 and batches != 2", "it is not made of batches"),
        ("steps // epochs > 1", "they differ where"),
    ],
)
def test_another_condition(text: str, told: str, chosen: Any) -> None:
    assert told in rejected(chosen, X, conditions={"flag": text})


def test_no_condition(chosen: Any) -> None:
    assert "found    flag where ((steps % 10)" in rejected(chosen, X, conditions=None)
    told = rejected(chosen, X, conditions={"flags": "steps < 3"})
    assert "no such variable is set by an expression: flag is" in told
    weight = tf.Variable(1.0, name="weight")
    verify.assert_graph(lambda x: weight.assign(x), tf.TensorSpec(()), conditions=None)


def test_a_branch_that_no_variable_chooses() -> None:
    steps = tf.Variable(0, trainable=False, name="steps")
    weight = tf.Variable(1.0, name="weight")

    @tf.function
    def train(x: Any) -> None:
        if steps.assign_add(1) % 2 == 0:
            weight.assign(x)

    (fact,) = verify.facts(train, tf.TensorSpec(())).conditions
    assert str(fact) == "a branch where (steps % 2) == 0"


def test_what_data_decide_is_no_condition() -> None:
    weight = tf.Variable(1.0, name="weight")

    @tf.function
    def train(x: Any) -> None:
        if x > weight:
            weight.assign(x)

    assert verify.facts(train, tf.TensorSpec(())).conditions == ()


@pytest.mark.parametrize("text", ["steps <", "steps ** 2 > 1", "steps < [1]", "steps < 'a'"])
def test_what_is_no_expression(text: str, chosen: Any) -> None:
    with pytest.raises(ValueError, match=r"^conditions: .* is (not an expression|more than)"):
        verify.assert_graph(chosen, X, conditions={"flag": text})


def test_nothing_is_called(chosen: Any) -> None:
    told = rejected(chosen, X, conditions={"flag": "__import__('os').getcwd() == 1"})
    assert "it is not made of __import__" in told
    with pytest.raises(ValueError, match="is more than arithmetic"):
        verify.assert_graph(chosen, X, conditions={"flag": "steps() < 3"})


@pytest.mark.parametrize("wrong", ["steps < 3", {"flag": 3}, ["flag"]])
def test_what_is_no_dict_of_expressions(wrong: Any, chosen: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^conditions: .* is not a dict of expressions by variable"
    ):
        verify.assert_graph(chosen, X, conditions=wrong)


def test_contracts() -> None:
    read = KEYWORDS["conditions"].read
    assert read("conditions", False, read) is None
    assert read("conditions", {"flag": "steps < 3"}, read) == {"flag": "steps < 3"}
