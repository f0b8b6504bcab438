"""What a backward pass differentiates, also where its beginning says little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from verify.flow import Flow
from verify.flow.wholes import Wholes
from verify.graphs import flatten

OBJECTIVES: dict[str, tuple[Callable[..., Any], str]] = {
    "the gradient by a denominator divides alike": (
        lambda p, y, k: tf.reduce_sum((p - y) ** 2 * k) / tf.reduce_sum(k),
        "sum((net(x) - y)^2 * k) / sum(k)",
    ),
    "a denominator that is trained": (
        lambda p, y, k: tf.reduce_sum((p - y) ** 2) / tf.reduce_sum(p**2),
        "sum((net(x) - y)^2) / sum(net(x)^2)",
    ),
    "means begin alike": (
        lambda p, y, k: tf.reduce_mean(p**4) - tf.reduce_mean(p * y),
        "mean(net(x)^4) - mean(net(x) * y)",
    ),
    "so do negatives of what is subtracted": (
        lambda p, y, k: tf.reduce_mean(y * k) - (-tf.reduce_sum(-tf.exp(p)) / 8),
        "mean(y * k) + 0.125 * sum(-exp(net(x)))",
    ),
    "sums that take nothing": (
        lambda p, y, k: tf.reduce_mean(p) + tf.reduce_sum(p) / 8,
        "mean(net(x)) + 0.125 * sum(net(x))",
    ),
    "many parts": (
        lambda p, y, k: sum(tf.reduce_mean(p**i) for i in range(3, 33)),
        "mean(net(x)^3) + mean(net(x)^4)",
    ),
}
CELLS = {
    "in order": lambda: keras.layers.Flatten(),
    # A graph with a loop is in another order: losses may come after their gradients.
    "after a loop": lambda: keras.layers.GRU(3),
}


@pytest.mark.parametrize("order", CELLS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_differentiated(name: str, order: str) -> None:
    cost, formula = OBJECTIVES[name]
    layers = [keras.Input((4, 2)), CELLS[order](), keras.layers.Dense(5)]
    net, optimizer = keras.Sequential(layers, name="net"), keras.optimizers.SGD()
    optimizer.build(net.trainable_variables)

    @tf.function(autograph=False)
    def step(x: Any, y: Any, k: Any) -> None:
        with tf.GradientTape() as tape:
            loss = cost(net(x, training=True), y, k)
        gradients = tape.gradient(loss, [weight.value for weight in net.trainable_variables])
        optimizer.apply(gradients, net.trainable_variables)

    batch = (tf.TensorSpec((8, 4, 2)), tf.TensorSpec((8, 5)), tf.TensorSpec((8, 1)))
    (fact,) = verify.facts(step, *batch, model=net).objectives
    assert fact.formula.startswith(formula)


@pytest.mark.parametrize("count", [3, 12])
def test_a_pass_is_not_held_against_the_losses_of_others(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All begin alike, with a mean; what each takes tells which losses are its own."""
    weights = [tf.Variable(tf.ones(4)) for _ in range(count)]

    @tf.function(autograph=False)
    def step(x: Any) -> None:
        for weight in weights:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.sin(weight * x) ** 2)
            weight.assign_sub(0.1 * tape.gradient(loss, weight))

    asked, doubt = list[tuple[int, Any]](), Wholes.doubt
    monkeypatch.setattr(
        Wholes, "doubt", lambda self, *about: asked.append(about) or doubt(self, *about)
    )
    flow = Flow(flatten(step.get_concrete_function(tf.TensorSpec((8, 4)))))
    read = flow.weights
    of = [{read[i] for i in flow.ancestors([s.loss[0]]) & read.keys()} for s in flow.seeds]
    assert of == [{update.variable.key} for update in flow.updates]
    assert len(asked) <= count
