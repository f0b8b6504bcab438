"""Whether targets are those of the examples that are judged, row by row and column by column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import dense

Feed = Callable[[Any, Any], tuple[Any, Any]]

SPECS = tf.TensorSpec((8, 4)), tf.TensorSpec((8, 3))


def in_one_order(x: Any, y: Any) -> tuple[Any, Any]:
    order = tf.random.shuffle(tf.range(8))
    return tf.gather(x, order), tf.gather(y, order)


def flipped_at_random(x: Any, y: Any) -> tuple[Any, Any]:
    flips = tf.random.uniform((8, 1)) < 0.5
    return tf.where(flips, tf.reverse(x, [1]), x), y


RIGHT: dict[str, Feed] = {
    "as they are": lambda x, y: (x, y),
    "in one order": in_one_order,
    "both reversed": lambda x, y: (x[::-1], y[::-1]),
    "standardised": lambda x, y: (x - tf.reduce_mean(x, 0), y),
    "augmented": flipped_at_random,
    "some features": lambda x, y: (tf.gather(x, [0, 2, 1, 1], axis=1), y),
}
WRONG: dict[str, tuple[Feed, str]] = {
    "labels reversed": (lambda x, y: (x, y[::-1]), "that of row"),
    "labels gathered": (lambda x, y: (x, tf.gather(y, [1, 2, 3, 4, 5, 6, 7, 0])), "that of row"),
    "examples reversed": (lambda x, y: (x[::-1], y), "that of row"),
    "examples rolled": (lambda x, y: (tf.roll(x, 1, 0), y), "that of row"),
    "examples shuffled": (lambda x, y: (tf.random.shuffle(x), y), "that of row"),
    "columns exchanged": (lambda x, y: (x, tf.gather(y, [1, 0, 2], axis=1)), "columns"),
    "one column": (lambda x, y: (x, tf.repeat(y[:, :1], 3, 1)), "columns"),
}


def step_of(feed: Feed) -> Any:
    model = dense(outputs=3)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        examples, labels = feed(x, y)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((labels - model(examples)) ** 2)
        weights = [v.value for v in model.trainable_variables]
        optimizer.apply(tape.gradient(loss, weights), model.trainable_variables)

    return train


@pytest.mark.parametrize("feed", RIGHT.values(), ids=RIGHT)
def test_each_prediction_against_its_own_target(feed: Feed) -> None:
    verify.assert_graph(step_of(feed), *SPECS, loss="mse")


@pytest.mark.parametrize(("feed", "told"), WRONG.values(), ids=WRONG)
def test_another_order(feed: Feed, told: str) -> None:
    with pytest.raises(verify.GraphAssertionError, match=f"its target is .*{told}"):
        verify.assert_graph(step_of(feed), *SPECS, loss="mse")


MOVED = {name: feed for name, (feed, told) in WRONG.items() if told == "that of row"}
MAKES: dict[str, Callable[[Any], Any]] = {
    "scaled": lambda y: y / 255.0,
    "standardised": lambda y: (y - tf.reduce_mean(y, 0)) / tf.math.reduce_std(y, 0),
    "one hot": lambda y: tf.one_hot(tf.argmax(y, -1), 3),
}


@pytest.mark.parametrize("made", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize("feed", MOVED.values(), ids=MOVED)
def test_another_order_of_made_targets(feed: Feed, made: Callable[[Any], Any]) -> None:
    moved = step_of(lambda x, y: (feed(x, y)[0], made(feed(x, y)[1])))
    with pytest.raises(verify.GraphAssertionError, match="its target is that of row"):
        verify.assert_graph(moved, *SPECS, loss="mse")


def by_name(feed: Feed, target: Callable[[Any], Any]) -> Any:
    """The same step, whose only argument does not say what is x and what is y."""
    train = step_of(feed)
    return tf.function(lambda batch: train(batch["a"], target(batch["b"])), autograph=False)


NAMED = {"a": SPECS[0], "b": SPECS[1]}


@pytest.mark.parametrize("feed", RIGHT.values(), ids=RIGHT)
def test_an_order_of_examples_by_name(feed: Feed) -> None:
    for target in (lambda b: b, lambda b: 2.0 * b):
        verify.assert_graph(by_name(feed, target), NAMED, loss="mse")


@pytest.mark.parametrize("feed", MOVED.values(), ids=MOVED)
def test_another_order_of_examples_by_name(feed: Feed) -> None:
    with pytest.raises(verify.GraphAssertionError, match="its target is that of row"):
        verify.assert_graph(by_name(feed, lambda b: b), NAMED, loss="mse")


def test_what_examples_have_in_common_tells_no_order() -> None:
    """Pairs of labels that are equal: each row of that is of two examples."""
    model = dense(outputs=8)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            alike = tf.cast(y[:, None] == y[None, :], tf.float32)
            loss = tf.reduce_mean((alike - model(x)) ** 2)
        weights = [v.value for v in model.trainable_variables]
        optimizer.apply(tape.gradient(loss, weights), model.trainable_variables)

    verify.assert_graph(train, SPECS[0], tf.TensorSpec((8,), tf.int32), loss="mse")


MADE: dict[str, Callable[[Any], Any]] = {
    "standardised": lambda y: (y - tf.reduce_mean(y)) / tf.math.reduce_std(y),
    "above a number": lambda y: tf.cast(y > 100.0, tf.float32),
    "between far bounds": lambda y: tf.clip_by_value(y, 2e9, 3e9),
    "where it is negative": lambda y: tf.nn.relu(-y - 50.0),
}
FIXED: dict[str, Callable[[Any], Any]] = {
    "zero times it": lambda y: y * 0.0,
    "itself less itself": lambda y: y - y,
    "one where it is finite": lambda y: tf.cast(y * 2.0 - y == y, tf.float32),
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_a_target_that_the_step_makes(made: Callable[[Any], Any]) -> None:
    verify.assert_graph(step_of(lambda x, y: (x, made(y))), *SPECS, loss="mse")


@pytest.mark.parametrize("made", FIXED.values(), ids=FIXED)
def test_a_target_that_is_the_same_whatever_is_fed(made: Callable[[Any], Any]) -> None:
    with pytest.raises(verify.GraphAssertionError, match="its target does not depend on"):
        verify.assert_graph(step_of(lambda x, y: (x, made(y))), *SPECS, loss="mse")


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
@pytest.mark.parametrize("number", [0, 7, 0.25, 200])
def test_a_class_that_is_asked_for(number: float, dtype: str) -> None:
    whole = dtype.endswith(("int32", "int8"))
    asked = int(number) if whole else number

    def labels(y: Any) -> Any:
        return tf.cast(y if dtype == "bool" else y == asked, tf.float32)

    step = step_of(lambda x, y: (x, labels(y)))
    verify.assert_graph(step, SPECS[0], tf.TensorSpec((8, 3), dtype), loss="mse")
