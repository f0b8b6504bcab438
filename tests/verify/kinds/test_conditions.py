"""`conditions=`: by which expression of counters a step chooses."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

import verify
from tests.verify.steps import Asked
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


REAL = {
    "mean < 0.5": ["mean < 0.4", "mean < 0.50001", "mean <= 0.5", "mean > 0.5", "mean < 5"],
    "mean < 1e-4": ["mean < 2e-4", "mean < 0.001", "mean < -1e-4"],
    "mean * 2.0 - other > 0.25": ["mean * 2.0 - other > 0.35", "mean - other > 0.25"],
    "mean < 3e4": ["mean < 2e4", "mean < 30001"],
    "mean < 0.5 and steps >= 10": ["mean < 0.6 and steps >= 10", "mean < 0.5 and steps > 10"],
}
ALIKE = {
    "mean < 0.5": ["0.5 > mean", "mean + mean < 1.0", "not mean >= 0.5", "3 * mean < 1.5"],
    "mean < 1e-4": ["1e-4 > mean", "not mean >= 0.0001", "mean * 3 < 3e-4"],
    "mean * 2.0 - other > 0.25": ["other + 0.25 < 2 * mean"],
    "mean < 3e4": ["mean < 30000", "mean / 3 < 1e4"],
    "mean < 0.5 and steps >= 10": ["9 < steps and not mean >= 0.5"],
}


@pytest.mark.parametrize("text", REAL)
def test_a_bound_of_a_real_number(text: str) -> None:
    flag = tf.Variable(False, trainable=False, name="flag")
    mean, other = (tf.Variable(0.0, trainable=False, name=name) for name in ("mean", "other"))
    steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps")
    weight = tf.Variable(1.0, name="weight")
    said = {
        "mean < 0.5": lambda: mean < 0.5,
        "mean < 1e-4": lambda: mean < 1e-4,
        "mean * 2.0 - other > 0.25": lambda: mean * 2.0 - other > 0.25,
        "mean < 3e4": lambda: mean < 3e4,
        "mean < 0.5 and steps >= 10": lambda: tf.logical_and(mean < 0.5, steps >= 10),
    }

    @tf.function
    def train(x: Any) -> None:
        flag.assign(said[text]())
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x * weight) ** 2)
        slope = tape.gradient(loss, weight)
        if flag:
            weight.assign_sub(0.1 * slope)

    step = Asked(train, X)
    for same in (text, *ALIKE[text]):
        assert not step(conditions={"flag": same}), same
    for wrong in REAL[text]:
        assert step(conditions={"flag": wrong}), wrong


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
