"""By how many a loss is divided: formulas tell the dimension, where it is not a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify


def count(*of: Any) -> Any:
    return tf.cast(tf.reduce_prod(of), tf.float32)


COSTS: dict[str, tuple[Callable[[Any, Any], Any], str, str]] = {
    "rows": (
        lambda p, y: tf.reduce_sum((p - y) ** 4) / count(tf.shape(p)[0]),
        "sum((net(x) - y)^4) / len(net(x))",
        "0.125 * sum((net(x) - y)^4)",
    ),
    "columns": (
        lambda p, y: tf.reduce_sum((p - y) ** 4) / count(tf.shape(p)[1]),
        "0.2 * sum((net(x) - y)^4)",
        "0.2 * sum((net(x) - y)^4)",
    ),
    "twice": (
        lambda p, y: tf.reduce_sum((p - y) ** 4) / (2.0 * count(tf.shape(y)[0])),
        "sum((net(x) - y)^4) / (2 * len(y))",
        "0.0625 * sum((net(x) - y)^4)",
    ),
    "rows by columns": (
        lambda p, y: tf.reduce_sum((p - y) ** 4) / count(tf.shape(y)[0], tf.shape(y)[1]),
        "sum((net(x) - y)^4) / (5 * len(y))",
        "mean((net(x) - y)^4)",
    ),
    "all that is added up": (
        lambda p, y: tf.reduce_sum(each := (p - y) ** 4) / count(tf.size(each)),
        "mean((net(x) - y)^4)",
        "mean((net(x) - y)^4)",
    ),
    "a shape": (
        lambda p, y: tf.reduce_sum(each := (p - y) ** 4) / count(*tf.unstack(tf.shape(each))),
        "mean((net(x) - y)^4)",
        "mean((net(x) - y)^4)",
    ),
    "examples": (
        lambda p, y: tf.nn.compute_average_loss(tf.reduce_sum((p - y) ** 4, -1)),
        "mean(sum((net(x) - y)^4, axis=-1))",
        "mean(sum((net(x) - y)^4, axis=-1))",
    ),
    "at least one": (
        lambda p, y: tf.reduce_sum((p - y) ** 4) / tf.maximum(count(tf.shape(y)[0]), 1.0),
        "sum((net(x) - y)^4) / max(len(y), 1)",
        "0.125 * sum((net(x) - y)^4)",
    ),
}


@pytest.mark.parametrize("name", COSTS)
def test_by_how_many(name: str) -> None:
    cost, of_any, of_eight = COSTS[name]
    for rows, formula in ((None, of_any), (8, of_eight)):
        net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)], name="net")
        weights = [variable.value for variable in net.trainable_variables]

        @tf.function(autograph=False)
        def step(x: Any, y: Any, net: Any = net, weights: Any = weights) -> None:
            with tf.GradientTape() as tape:
                loss = cost(net(x), y)
            for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
                weight.assign_sub(0.1 * gradient)

        batch = tf.TensorSpec((rows, 3)), tf.TensorSpec((rows, 5))
        (fact,) = verify.facts(step, *batch, model=net).objectives
        assert fact.formula == formula
