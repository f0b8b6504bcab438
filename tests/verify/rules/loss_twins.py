"""Twins of the rules about losses, and about what of a batch decides what is trained."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.verify.rules.trained_twins import right
from tests.verify.rules.twin import (
    BATCH,
    CLASSES,
    MSE,
    WEIGHED,
    Make,
    Target,
    Twins,
    by_hand,
    compiled,
    network,
)

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RANK_1 = BATCH[0], tf.TensorSpec((8,))


def fused(y: Any, p: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, p))


def fused_binary(y: Any, p: Any) -> Any:
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, p))


def binary_by_hand(y: Any, p: Any) -> Any:
    chance = tf.sigmoid(p)
    terms = y * tf.math.log(chance + 1e-9) + (1 - y) * tf.math.log(1 - chance + 1e-9)
    return -tf.reduce_mean(terms)


def of_logits_by_hand(y: Any, p: Any) -> Any:
    return -tf.reduce_mean(tf.reduce_sum(y * tf.nn.log_softmax(p), axis=-1))


def of_chances_by_hand(y: Any, p: Any) -> Any:
    return -tf.reduce_mean(tf.reduce_sum(y * tf.math.log(p + 1e-7), axis=-1))


def one_hot(loss: Any, activation: Any) -> Make:
    """A loss of what an activation makes of the model's three outputs."""
    return lambda: by_hand(
        network(outputs=3),
        loss=loss,
        call=lambda model, x: activation(model(x, training=True)),
        args=(BATCH[0], tf.TensorSpec((8, 3))),
    )


def activated(loss: Any, activation: Any) -> Make:
    return lambda: by_hand(
        loss=loss, call=lambda model, x: activation(model(x, training=True)), args=BATCH
    )


def classes(loss: Any, activation: str | None = None, *layers: Any) -> Make:
    return lambda: by_hand(
        network(*layers, outputs=3, activation=activation), loss=loss, args=CLASSES
    )


def classes_compiled(loss: Any, activation: str | None, *layers: Any) -> Make:
    return lambda: compiled(network(*layers, outputs=3, activation=activation), loss, args=CLASSES)


def reshaped_softmax() -> Target:
    """What Keras can't see through: it takes logits from what a softmax itself returns only."""
    inputs = keras.Input((4,))
    made = keras.layers.Dense(3, "softmax")(inputs)
    net = keras.Model(inputs, keras.layers.Reshape((3,))(made))
    return compiled(net, LOGITS, args=CLASSES)


def squared(y: Any, p: Any) -> Any:
    return tf.reduce_mean((y - p) ** 2)


def weighed(y: Any, p: Any, w: Any) -> Any:
    return tf.reduce_mean(w[:, None] * (y - p) ** 2)


def weighed_wide(y: Any, p: Any, w: Any) -> Any:
    return tf.reduce_mean(w * (y - p) ** 2)


def with_weights(loss: Any) -> Make:
    return lambda: by_hand(loss=loss, args=WEIGHED)


def measured(y: Any, p: Any, w: Any) -> Any:
    METRIC.update_state(y, p, w)
    return MSE(y, p)


METRIC = keras.metrics.MeanAbsoluteError()


def losses(loss: Any, **said: Any) -> Make:
    return lambda: by_hand(loss=loss, **said)


def over_the_batch(x: Any) -> Any:
    return tf.nn.softmax(x, axis=0)


def shuffled(seed: int | None = None) -> Make:
    """Inputs and targets each shuffled: alike if by one seed."""
    return lambda: by_hand(
        call=lambda model, x: model(tf.random.shuffle(x, seed), training=True),
        loss=lambda y, p: MSE(tf.random.shuffle(y, seed), p),
    )


def called(call: Any) -> Make:
    return lambda: by_hand(call=call)


TWINS = (
    Twins("V301", classes(fused), (classes(fused, "softmax"), reshaped_softmax)),
    Twins(
        "V301",
        activated(fused_binary, tf.identity),
        (activated(fused_binary, tf.sigmoid), activated(binary_by_hand, tf.sigmoid)),
    ),
    Twins(
        "V301",
        one_hot(of_logits_by_hand, tf.identity),
        (one_hot(of_logits_by_hand, tf.nn.softmax), one_hot(fused_binary, tf.sigmoid)),
    ),
    Twins(
        "V302",
        classes_compiled("sparse_categorical_crossentropy", "softmax"),
        (
            classes_compiled("sparse_categorical_crossentropy", None),
            losses(keras.losses.BinaryCrossentropy()),
        ),
    ),
    Twins(
        "V303",
        classes_compiled(LOGITS, None),
        (
            lambda: compiled(network(activation="softmax"), "binary_crossentropy"),
            losses(lambda y, p: tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y, p))),
        ),
    ),
    Twins(
        "V304",
        losses(squared),
        (
            losses(squared, args=RANK_1),
            lambda: by_hand(call=lambda m, x: tf.squeeze(m(x), -1), loss=squared),
        ),
    ),
    Twins("V305", with_weights(weighed), (with_weights(weighed_wide),)),
    Twins(
        "V306",
        losses(lambda y, p: tf.reduce_mean(tf.sqrt(tf.square(y - p) + 1e-9))),
        (
            losses(lambda y, p: tf.reduce_mean(tf.sqrt(-1.0 - tf.square(p)))),
            losses(lambda y, p: tf.reduce_mean(tf.sqrt(tf.nn.relu(-tf.square(y - p))))),
        ),
    ),
    Twins(
        "V307",
        losses(keras.losses.BinaryCrossentropy(from_logits=True)),
        (
            lambda: by_hand(
                network(activation="relu"), loss=keras.losses.BinaryCrossentropy(from_logits=True)
            ),
            lambda: by_hand(network(activation="sigmoid"), loss=keras.losses.Hinge()),
        ),
    ),
    Twins(
        "V308",
        lambda: by_hand(
            network(outputs=3, activation="softmax"),
            loss=MSE,
            args=(BATCH[0], tf.TensorSpec((8, 3))),
        ),
        (
            lambda: by_hand(
                network(outputs=3, activation=over_the_batch),
                loss=MSE,
                args=(BATCH[0], tf.TensorSpec((8, 3))),
            ),
        ),
    ),
    Twins(
        "V308",
        one_hot(of_chances_by_hand, tf.nn.softmax),
        (one_hot(of_chances_by_hand, over_the_batch),),
    ),
    Twins(
        "V401",
        right,
        (
            called(lambda model, x: model(tf.zeros_like(x), training=True)),
            called(lambda model, x: model(tf.ones((8, 4)), training=True)),
        ),
    ),
    Twins(
        "V402",
        right,
        (losses(lambda y, p: MSE(0.0 * y, p)), losses(lambda y, p: MSE(y - y, p))),
    ),
    Twins(
        "V403",
        right,
        (
            losses(lambda y, p: MSE(y[::-1], p)),
            losses(lambda y, p: MSE(tf.roll(y, 1, 0), p)),
            called(lambda model, x: model(tf.gather(x, [3, 4, 5, 6, 7, 0, 1, 2]), training=True)),
        ),
    ),
    Twins(
        "V403",
        shuffled(seed=1),
        (
            shuffled(),
            called(lambda model, x: model(tf.random.shuffle(x), training=True)),
            losses(lambda y, p: MSE(tf.random.shuffle(y), p)),
        ),
    ),
    Twins("V404", with_weights(MSE), (with_weights(measured),)),
    Twins(
        "V405",
        right,
        (
            losses(lambda y, p: MSE(y[:-1], p[:-1])),
            losses(lambda y, p: MSE(tf.split(y, 2)[1], tf.split(p, 2)[1])),
        ),
    ),
    Twins(
        "V406",
        with_weights(lambda y, p, w: MSE(y, p, sample_weight=w)),
        (
            with_weights(lambda y, p, w: MSE(y, p, sample_weight=w[::-1])),
            with_weights(lambda y, p, w: MSE(y, p, tf.roll(w, 2, 0))),
        ),
    ),
)
