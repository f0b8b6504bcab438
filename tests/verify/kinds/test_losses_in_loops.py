"""A loss is what it is, whether a step computes it at once, in a loop, or of parts of a batch."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify

MODEL = keras.Sequential(
    [keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3)]
)
OPTIMIZER = keras.optimizers.SGD(0.1)
OPTIMIZER.build(MODEL.trainable_variables)

STATIC = (tf.TensorSpec((6, 4)), tf.TensorSpec((6, 3)))
OPEN = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 3)))


def of_a_row(y: Any, prediction: Any) -> Any:
    return tf.reduce_mean((y - prediction) ** 2)


def map_fn(x: Any, y: Any) -> Any:
    rows = (y, MODEL(x, training=True))
    return tf.reduce_mean(
        tf.map_fn(lambda row: of_a_row(*row), rows, fn_output_signature=tf.float32)
    )


def vectorized_map(x: Any, y: Any) -> Any:
    rows = (y, MODEL(x, training=True))
    return tf.reduce_mean(tf.vectorized_map(lambda row: of_a_row(*row), rows))


def scan(x: Any, y: Any) -> Any:
    rows = (y, MODEL(x, training=True))
    sums = tf.scan(lambda total, row: total + of_a_row(*row), rows, 0.0)
    return sums[-1] / tf.cast(tf.shape(y)[0], tf.float32)


def while_loop(x: Any, y: Any, columns: int = 3) -> Any:
    prediction = MODEL(x, training=True)

    def turn(i: Any, total: Any) -> Any:
        return i + 1, total + of_a_row(y[:, i], prediction[:, i]) / 3

    return tf.while_loop(lambda i, _: i < columns, turn, (0, 0.0))[1]


def model_in_the_loop(x: Any, y: Any) -> Any:
    def of(row: Any) -> Any:
        return of_a_row(row[1], MODEL(row[0][tf.newaxis], training=True)[0])

    return tf.reduce_mean(tf.map_fn(of, (x, y), fn_output_signature=tf.float32))


def halves(x: Any, y: Any) -> Any:
    return sum(of_a_row(y[i::2], MODEL(x[i::2], training=True)) for i in range(2)) / 2


def one_column_less(x: Any, y: Any) -> Any:
    return while_loop(x, y, columns=2)


def another_row(x: Any, y: Any) -> Any:
    return model_in_the_loop(x, tf.reverse(y, [0]))


def rows_of_others(x: Any, y: Any) -> Any:
    return map_fn(x, tf.roll(y, 1, axis=0))


def sum_of_other_rows(x: Any, y: Any) -> Any:
    return 6 * model_in_the_loop(x, tf.reverse(y, [0]))


def one_half_twice(x: Any, y: Any) -> Any:
    return of_a_row(y[::2], MODEL(x[::2], training=True))


def step_of(loss: Any, times: float = 1.0) -> Any:
    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            value = times * loss(x, y)
        variables = MODEL.trainable_variables
        OPTIMIZER.apply(tape.gradient(value, variables), variables)

    return step


@pytest.mark.parametrize(
    ("loss", "specs"),
    [
        *((loss, STATIC) for loss in (map_fn, scan, while_loop, model_in_the_loop, halves)),
        *((loss, OPEN) for loss in (map_fn, vectorized_map)),
    ],
)
def test_a_loop_is_another_spelling(loss: Any, specs: Any) -> None:
    verify.assert_graph(step_of(loss), *specs, model=MODEL, loss="mse")
    with pytest.raises(verify.GraphAssertionError, match=r"found +weight 0.9\n"):
        verify.assert_graph(step_of(loss, 0.9), *specs, model=MODEL, loss="mse")


@pytest.mark.parametrize(
    "loss", [one_column_less, another_row, rows_of_others, sum_of_other_rows, one_half_twice]
)
def test_parts_are_not_the_whole(loss: Any) -> None:
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(step_of(loss), *STATIC, model=MODEL, loss="mse")
