"""Losses that Keras ships as people write them by hand, each with near misses that are none.

Per loss: the outputs and last activation of a model for it, the kind of its labels, spellings of
it, and near misses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Spelling = Callable[[Any, Any], Any]

m, s, sq, ab, lg, ex = (
    tf.reduce_mean,
    tf.reduce_sum,
    tf.square,
    tf.abs,
    tf.math.log,
    tf.exp,
)
EPS = 1e-7


@dataclasses.dataclass(frozen=True)
class Spelt:
    """A loss, what it is for, and how it is written; what is only nearly it."""

    loss: keras.losses.Loss
    activation: str | None
    classes: bool
    same: tuple[Spelling, ...]
    misses: tuple[Spelling, ...]


def n(t: Any) -> Any:
    return tf.cast(tf.size(t), t.dtype)


def rows(t: Any) -> Any:
    return tf.cast(tf.shape(t)[0], t.dtype)


SPELLINGS = {
    "mse": Spelt(
        keras.losses.MeanSquaredError(),
        None,
        False,
        (
            lambda y, p: m((p - y) ** 2),
            lambda y, p: m((y - p) ** 2),
            lambda y, p: m((p - y) * (p - y)),
            lambda y, p: s(sq(p - y)) / n(p),
            lambda y, p: m(m(sq(y - p), axis=-1)),
            lambda y, p: tf.einsum("ij,ij->", p - y, p - y) / n(p),
            lambda y, p: m(sq(p)) - 2 * m(p * y) + m(sq(y)),
            lambda y, p: 2 * tf.nn.l2_loss(p - y) / n(p),
            lambda y, p: tf.add_n(tf.unstack(m(tf.math.squared_difference(p, y), axis=0))) / 3,
            lambda y, p: m(tf.pow(ab(p - y), 2)),
        ),
        (
            lambda y, p: 0.9 * m((p - y) ** 2),
            lambda y, p: s((p - y) ** 2) / rows(p),
            lambda y, p: s((p - y) ** 2),
            lambda y, p: m(ab(p - y)),
            lambda y, p: m((1.1 * p - y) ** 2),
            lambda y, p: m((p - tf.reverse(y, [0])) ** 2),
            lambda y, p: m((p - tf.roll(y, 1, 1)) ** 2),
            lambda y, p: m((p[:, :1] - y[:, :1]) ** 2),
            lambda y, p: m((p - y) ** 2) + 0.1 * m(ab(p - y)),
            lambda y, p: tf.sqrt(m((p - y) ** 2)),
            lambda y, p: m(tf.clip_by_value((p - y) ** 2, 0, 100)),
        ),
    ),
    "mae": Spelt(
        keras.losses.MeanAbsoluteError(),
        None,
        False,
        (
            lambda y, p: m(ab(p - y)),
            lambda y, p: m(tf.sqrt(sq(p - y))),
            lambda y, p: m(tf.maximum(p - y, y - p)),
            lambda y, p: s(tf.where(p > y, p - y, y - p)) / n(p),
            lambda y, p: m(tf.sign(p - y) * (p - y)),
            lambda y, p: m(tf.norm(tf.reshape(p - y, (-1, 1)), axis=1)),
        ),
        (
            lambda y, p: m(tf.maximum(p - y, 0.5 * (y - p))),
            lambda y, p: 1.1 * m(ab(p - y)),
            lambda y, p: m(ab(p - y) ** 1.1),
            lambda y, p: m(tf.norm(p - y, axis=1)),
        ),
    ),
    "huber": Spelt(
        keras.losses.Huber(),
        None,
        False,
        (
            lambda y, p: m(tf.where(ab(p - y) < 1, 0.5 * sq(p - y), ab(p - y) - 0.5)),
            lambda y, p: m(0.5 * sq(tf.minimum(ab(p - y), 1.0)) + tf.nn.relu(ab(p - y) - 1)),
            lambda y, p: m(
                tf.minimum(ab(p - y), 1.0) * (ab(p - y) - 0.5 * tf.minimum(ab(p - y), 1.0))
            ),
        ),
        (
            lambda y, p: m(tf.where(ab(p - y) < 1.1, 0.5 * sq(p - y), 1.1 * ab(p - y) - 0.605)),
            lambda y, p: m(tf.where(ab(p - y) < 20, 0.5 * sq(p - y), 20 * ab(p - y) - 200)),
            lambda y, p: m(tf.sqrt(1 + sq(p - y)) - 1),
            lambda y, p: 0.5 * m(sq(p - y)),
        ),
    ),
    "logcosh": Spelt(
        keras.losses.LogCosh(),
        None,
        False,
        (
            lambda y, p: m(lg(tf.cosh(p - y))),
            lambda y, p: m((p - y) + tf.math.softplus(-2 * (p - y)) - lg(2.0)),
            lambda y, p: m(ab(p - y) + tf.math.log1p(ex(-2 * ab(p - y))) - lg(2.0)),
        ),
        (
            lambda y, p: m(lg(tf.cosh(1.1 * (p - y)))),
            lambda y, p: m(tf.math.softplus(p - y)),
        ),
    ),
    "mape": Spelt(
        keras.losses.MeanAbsolutePercentageError(),
        None,
        False,
        (
            lambda y, p: 100 * m(ab((y - p) / y)),
            lambda y, p: 100 * m(ab(y - p) / ab(y)),
            lambda y, p: m(ab(1 - p / y)) * 100,
        ),
        (
            lambda y, p: m(ab((y - p) / y)),
            lambda y, p: 100 * m(ab((y - p) / p)),
        ),
    ),
    "msle": Spelt(
        keras.losses.MeanSquaredLogarithmicError(),
        "softplus",
        False,
        (
            lambda y, p: m(sq(tf.math.log1p(p) - tf.math.log1p(y))),
            lambda y, p: m(sq(lg((1 + y) / (1 + p)))),
            lambda y, p: m((lg(p + 1) - lg(y + 1)) ** 2),
        ),
        (
            lambda y, p: m(sq(lg(p) - lg(y))),
            lambda y, p: m(ab(lg(p + 1) - lg(y + 1))),
        ),
    ),
    "poisson": Spelt(
        keras.losses.Poisson(),
        "softplus",
        False,
        (
            lambda y, p: m(p - y * lg(p)),
            lambda y, p: s(p - y * lg(p + 1e-7)) / n(p),
            lambda y, p: m(p) - m(y * lg(p)),
        ),
        (
            lambda y, p: m(ex(p) - y * p),
            lambda y, p: m(p - 1.1 * y * lg(p)),
        ),
    ),
    "cosine": Spelt(
        keras.losses.CosineSimilarity(),
        None,
        False,
        (
            lambda y, p: -m(s(tf.nn.l2_normalize(y, -1) * tf.nn.l2_normalize(p, -1), -1)),
            lambda y, p: -m(s(y * p, -1) / (tf.norm(y, axis=-1) * tf.norm(p, axis=-1))),
        ),
        (
            lambda y, p: -m(s(y * p, -1)),
            lambda y, p: 1.1 * -m(s(tf.nn.l2_normalize(y, -1) * tf.nn.l2_normalize(p, -1), -1)),
        ),
    ),
    "bce": Spelt(
        keras.losses.BinaryCrossentropy(),
        "sigmoid",
        False,
        (
            lambda y, p: -m(y * lg(p) + (1 - y) * lg(1 - p)),
            lambda y, p: -m(tf.where(y > 0.5, lg(p), lg(1 - p))),
            lambda y, p: m(-y * lg(p + EPS) - (1 - y) * lg(1 - p + EPS)),
            lambda y, p: -m(m(y * lg(p) + (1 - y) * tf.math.log1p(-p), -1)),
            lambda y, p: m(keras.ops.binary_crossentropy(y, p)),
        ),
        (
            lambda y, p: -m(1.1 * y * lg(p) + (1 - y) * lg(1 - p)),
            lambda y, p: -m(y * lg(p)),
            lambda y, p: -m(p * lg(p) + (1 - y) * lg(1 - p)),
            lambda y, p: -s(y * lg(p) + (1 - y) * lg(1 - p)),
        ),
    ),
    "bce_logits": Spelt(
        keras.losses.BinaryCrossentropy(from_logits=True),
        None,
        False,
        (
            lambda y, z: m(tf.nn.sigmoid_cross_entropy_with_logits(y, z)),
            lambda y, z: m(tf.maximum(z, 0) - z * y + tf.math.log1p(ex(-ab(z)))),
            lambda y, z: m(tf.math.softplus(z) - y * z),
            lambda y, z: m(y * tf.math.softplus(-z) + (1 - y) * tf.math.softplus(z)),
            lambda y, z: -m(y * tf.math.log_sigmoid(z) + (1 - y) * tf.math.log_sigmoid(-z)),
            lambda y, z: m(tf.math.softplus((1 - 2 * y) * z)),
        ),
        (
            lambda y, z: m(tf.nn.weighted_cross_entropy_with_logits(y, z, 1.1)),
            lambda y, z: m(tf.nn.sigmoid_cross_entropy_with_logits(0.9 * y, z)),
            lambda y, z: m(tf.nn.sigmoid_cross_entropy_with_logits(y, tf.sigmoid(z))),
            lambda y, z: m(tf.math.softplus(-y * z)),
        ),
    ),
    "cce": Spelt(
        keras.losses.CategoricalCrossentropy(),
        "softmax",
        False,
        (
            lambda y, p: -m(s(y * lg(p), -1)),
            lambda y, p: -m(lg(s(y * p, -1))),
            lambda y, p: -s(y * lg(p + EPS)) / rows(p),
            lambda y, p: m(keras.ops.categorical_crossentropy(y, p)),
            lambda y, p: -m(tf.einsum("ij,ij->i", y, lg(p))),
        ),
        (
            lambda y, p: -m(y * lg(p)),
            lambda y, p: m(tf.nn.softmax_cross_entropy_with_logits(y, p)),
            lambda y, p: -m(s(y * lg(p) * (1 - p), -1)),
            lambda y, p: -m(s((0.9 * y + 0.1 / 3) * lg(p), -1)),
        ),
    ),
    "cce_logits": Spelt(
        keras.losses.CategoricalCrossentropy(from_logits=True),
        None,
        False,
        (
            lambda y, z: m(tf.nn.softmax_cross_entropy_with_logits(y, z)),
            lambda y, z: -m(s(y * tf.nn.log_softmax(z), -1)),
            lambda y, z: m(tf.reduce_logsumexp(z, -1) - s(y * z, -1)),
            lambda y, z: m(lg(s(ex(z), -1)) - s(y * z, -1)),
            lambda y, z: -m(s(y * lg(tf.nn.softmax(z)), -1)),
        ),
        (
            lambda y, z: m(tf.nn.softmax_cross_entropy_with_logits(y, 1.1 * z)),
            lambda y, z: m(tf.nn.softmax_cross_entropy_with_logits(y, tf.nn.softmax(z))),
            lambda y, z: m(tf.reduce_logsumexp(z, 0) - s(y * z, 0)),
            lambda y, z: s(tf.nn.softmax_cross_entropy_with_logits(y, z)),
        ),
    ),
    "scce": Spelt(
        keras.losses.SparseCategoricalCrossentropy(),
        "softmax",
        True,
        (
            lambda y, p: -m(lg(tf.gather(p, y, batch_dims=1))),
            lambda y, p: -m(s(tf.one_hot(y, 3) * lg(p), -1)),
            lambda y, p: m(keras.ops.sparse_categorical_crossentropy(y, p)),
            lambda y, p: (
                -m(
                    lg(
                        tf.gather_nd(
                            p, tf.stack([tf.range(tf.shape(p)[0]), tf.cast(y, tf.int32)], 1)
                        )
                    )
                )
            ),
        ),
        (
            lambda y, p: -m(lg(tf.gather(p, 2 - y, batch_dims=1))),
            lambda y, p: m(1 - tf.gather(p, y, batch_dims=1)),
            lambda y, p: -m(tf.one_hot(y, 3) * lg(p)),
        ),
    ),
    "scce_logits": Spelt(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        None,
        True,
        (
            lambda y, z: m(tf.nn.sparse_softmax_cross_entropy_with_logits(y, z)),
            lambda y, z: m(tf.reduce_logsumexp(z, -1) - tf.gather(z, y, batch_dims=1)),
            lambda y, z: -m(tf.gather(tf.nn.log_softmax(z), y, batch_dims=1)),
            lambda y, z: m(tf.nn.softmax_cross_entropy_with_logits(tf.one_hot(y, 3), z)),
            lambda y, z: -m(s(tf.one_hot(y, 3) * tf.nn.log_softmax(z), -1)),
        ),
        (
            lambda y, z: m(tf.nn.sparse_softmax_cross_entropy_with_logits(y, tf.nn.softmax(z))),
            lambda y, z: m(tf.nn.sparse_softmax_cross_entropy_with_logits(y, z / 1.1)),
            lambda y, z: m(
                tf.nn.softmax_cross_entropy_with_logits(0.9 * tf.one_hot(y, 3) + 0.1 / 3, z)
            ),
        ),
    ),
    "kld": Spelt(
        keras.losses.KLDivergence(),
        "softmax",
        False,
        (
            lambda y, p: m(s(y * lg(y / p), -1)),
            lambda y, p: m(s(y * (lg(y) - lg(p)), -1)),
            lambda y, p: s(tf.math.xlogy(y, y / p)) / rows(p),
        ),
        (
            lambda y, p: m(s(p * lg(p / y), -1)),
            lambda y, p: m(y * lg(y / p)),
        ),
    ),
    "hinge": Spelt(
        keras.losses.Hinge(),
        None,
        False,
        (
            lambda y, p: m(tf.maximum(0.0, 1 - y * p)),
            lambda y, p: m(tf.nn.relu(1 - p * y)),
            lambda y, p: s(tf.where(y * p < 1, 1 - y * p, 0.0)) / n(p),
        ),
        (
            lambda y, p: m(tf.nn.relu(1.1 - p * y)),
            lambda y, p: m(tf.nn.relu(-p * y)),
            lambda y, p: m(tf.nn.relu(1 - p * y) ** 2),
        ),
    ),
    "squared_hinge": Spelt(
        keras.losses.SquaredHinge(),
        None,
        False,
        (
            lambda y, p: m(sq(tf.nn.relu(1 - p * y))),
            lambda y, p: m(tf.maximum(1 - y * p, 0) ** 2),
        ),
        (
            lambda y, p: m((1 - p * y) ** 2),
            lambda y, p: m((p - y) ** 2),
        ),
    ),
    "categorical_hinge": Spelt(
        keras.losses.CategoricalHinge(),
        None,
        False,
        (lambda y, p: m(tf.nn.relu(1 + tf.reduce_max((1 - y) * p, -1) - s(y * p, -1))),),
        (lambda y, p: m(tf.nn.relu(1.1 + tf.reduce_max((1 - y) * p, -1) - s(y * p, -1))),),
    ),
}
