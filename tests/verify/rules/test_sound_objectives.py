"""Nothing is found in objectives that are much like faulty ones: by hand, and over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from tests.verify.rules.twin import BATCH, MSE, Target, by_hand, network

ROWS = tf.TensorSpec((8, 3))


def focal(y: Any, p: Any) -> Any:
    """A crossentropy of each class, weighted by how wrong it is."""
    chance = tf.sigmoid(p)
    right = y * chance + (1 - y) * (1 - chance)
    each = tf.nn.sigmoid_cross_entropy_with_logits(y, p)
    return tf.reduce_mean((1 - right) ** 2 * each)


def both_ways(y: Any, p: Any) -> Any:
    """Which class an example has, and which examples a class has."""
    shares = (tf.nn.softmax(p, axis=axis) for axis in (0, 1))
    return -tf.add_n([tf.reduce_mean(y * tf.math.log(share + 1e-7)) for share in shares])


def by_confidence(y: Any, p: Any) -> Any:
    """Examples weighted by a softmax of their losses, over the batch."""
    errors = (y - p) ** 2
    return tf.reduce_sum(tf.stop_gradient(tf.nn.softmax(errors, axis=0)) * errors)


def sharpened(y: Any, p: Any) -> Any:
    """Against what is made of the prediction itself, as in clustering, and the target."""
    chance = tf.nn.softmax(p)
    shares = chance**2 / tf.reduce_sum(chance, axis=0, keepdims=True)
    target = tf.stop_gradient(shares / tf.reduce_sum(shares, axis=1, keepdims=True))
    divergence = tf.reduce_sum(target * tf.math.log(target / chance), axis=1)
    return MSE(y, p) + tf.reduce_mean(divergence)


def calibrated(y: Any, p: Any) -> Any:
    """Logits that are the tempered logarithm of odds: bounded, of both signs."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, 4 * tf.sigmoid(p) - 2))


def gated(y: Any, p: Any) -> Any:
    return MSE(y, tf.sigmoid(p) * tf.tanh(p))


def straight_through(y: Any, p: Any) -> Any:
    return MSE(y, p + tf.stop_gradient(tf.round(p) - p))


def smoothed(y: Any, p: Any) -> Any:
    kept = 0.9 * y + 0.1 / 3
    return -tf.reduce_mean(tf.reduce_sum(kept * tf.nn.log_softmax(p), axis=-1))


def attended(model: Any, x: Any) -> Any:
    """Each example sees a share of all: attention over the batch, pooled and added."""
    scores = model(x, training=True)
    pooled = tf.matmul(tf.nn.softmax(scores, axis=0), scores, transpose_a=True)
    return scores + tf.reduce_mean(pooled, axis=0)


OBJECTIVES = (
    focal,
    both_ways,
    by_confidence,
    sharpened,
    calibrated,
    gated,
    straight_through,
    smoothed,
)


@pytest.mark.parametrize("loss", OBJECTIVES, ids=lambda loss: loss.__name__)
def test_an_objective(loss: Callable[..., Any]) -> None:
    assert not _found(by_hand(network(outputs=3), loss=loss, args=(BATCH[0], ROWS)))


def test_attention_over_the_batch() -> None:
    assert not _found(by_hand(network(outputs=3), call=attended, args=(BATCH[0], ROWS)))


def mixed(x: Any, y: Any) -> tuple[Any, Any]:
    """Each example with another one, and their targets as much."""
    order, share = tf.random.shuffle(tf.range(8)), tf.random.uniform((8, 1))
    pairs = ((one, tf.gather(one, order)) for one in (x, y))
    return tuple(share * one + (1 - share) * other for one, other in pairs)  # type: ignore[return-value]


def moved(x: Any, y: Any) -> tuple[Any, Any]:
    order = tf.random.shuffle(tf.range(8))
    return tf.gather(x, order), tf.gather(y, order)


def seeded(x: Any, y: Any) -> tuple[Any, Any]:
    return tf.random.shuffle(x, seed=3), tf.random.shuffle(y, seed=3)


@pytest.mark.parametrize("make", [mixed, moved, seeded], ids=lambda make: make.__name__)
def test_rows_that_are_moved_together(make: Callable[..., tuple[Any, Any]]) -> None:
    net = network()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(net.trainable_variables)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            inputs, targets = make(x, y)
            loss = MSE(targets, net(inputs, training=True))
        gradients = tape.gradient(loss, [v.value for v in net.trainable_variables])
        optimizer.apply(gradients, net.trainable_variables)

    assert not _found(Target(step, BATCH, net))


def test_an_optimizer_of_gradients_that_python_has() -> None:
    net = network()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(net.trainable_variables)

    def known(variable: Any) -> Any:
        made = tf.numpy_function(lambda: np.ones(variable.shape, np.float32), [], tf.float32)
        return tf.ensure_shape(made, variable.shape)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        variables = net.trainable_variables
        optimizer.apply([known(variable) for variable in variables], variables)

    assert not _found(Target(step, BATCH, net))


def _found(target: Target) -> tuple[verify.rules.Finding, ...]:
    return verify.lint(target.step, *target.args, model=target.model)
