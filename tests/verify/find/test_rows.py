"""Gradients of rows that were looked up in a table: optimizers, clips and objectives of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.find.test_optimizers import KERAS
from tests.verify.updates import rejected
from verify.find import Detector
from verify.step import capture

optim = keras.optimizers
NUMBERS, WEIGHTS = tf.TensorSpec((None, 2), tf.int32), tf.TensorSpec((None, 2, 3))
TAKEN = [name for name in KERAS if name != "unscaled"]  # that takes no rows

Treat = Callable[[Any], Any]


def table(name: str, rows: int = 7) -> keras.Variable:
    return keras.Variable(tf.ones((rows, 3)), name=name)


@pytest.fixture(scope="module")
def updated() -> tuple[Detector, dict[str, keras.Variable]]:
    """A table for each of Keras' optimizers, of which the same rows are looked up."""
    tables = {name: table(name.replace(" ", "_")) for name in TAKEN}
    optimizers = {name: KERAS[name][0]() for name in TAKEN}
    for name, optimizer in optimizers.items():
        optimizer.build([tables[name]])

    @tf.function(autograph=False)
    def train(numbers: Any, weights: Any) -> None:
        for name, variable in tables.items():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(weights * tf.gather(variable.value, numbers) ** 2)
            gradient = tape.gradient(loss, variable.value)
            optimizers[name].apply([gradient], [variable])

    return Detector(capture(train, NUMBERS, WEIGHTS)), tables


def is_as(updated: tuple[Detector, dict[str, keras.Variable]], name: str, wanted: Any) -> bool:
    detector, tables = updated
    (update,) = (u for u in detector.flow.trained if u.variable.path == tables[name].path)
    return detector.optimizers.made_as(update.variable.key, wanted) is not None


@pytest.mark.parametrize("name", TAKEN)
def test_an_optimizer_of_keras_is_known_with_its_settings(name: str, updated: Any) -> None:
    make, others = KERAS[name]
    assert is_as(updated, name, make())
    assert not any(is_as(updated, name, make(**other)) for other in others)


# -- a model ---------------------------------------------------------------------------------------


class Words:
    """Words are looked up, forwards and backwards, in one table, and in a smaller one."""

    def __init__(self, optimizer: Any, rows: int = 50, treat: Treat = lambda g: g) -> None:
        numbers = keras.Input((3,), dtype="int32")
        words = keras.layers.Embedding(rows, 4, name="words")
        small = keras.layers.Embedding(5, 2, name="small")
        found = [words(numbers), words(numbers[:, ::-1]), small(numbers)]
        joined = keras.layers.Flatten()(keras.layers.Concatenate()(found))
        self.model = keras.Model(numbers, keras.layers.Dense(1)(joined))
        self.optimizer, self.treat = optimizer, treat
        optimizer.build(self.model.trainable_variables)
        self.step = tf.function(self._step)

    def loss(self, x: Any, y: Any) -> Any:
        return tf.reduce_mean((self.model(x) - y) ** 2)

    def _step(self, x: Any, y: Any) -> None:
        weights = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        self.optimizer.apply([self.treat(g) for g in tape.gradient(loss, weights)], weights)


def specs(size: int | None = None) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    return tf.TensorSpec((size, 3), tf.int32), tf.TensorSpec((size, 1))


@pytest.mark.parametrize("rows", [50, 40_000])
@pytest.mark.parametrize("size", [None, 8])
def test_optimizer_clip_and_objective(rows: int, size: int | None) -> None:
    trained = Words(optim.Adam(0.1, global_clipnorm=0.5), rows)
    verify.assert_graph(
        trained.step,
        *specs(size),
        optimizer=optim.Adam(0.1),
        clipping={"global_norm": 0.5},
        objective=trained.loss,
    )


def test_another_rate_clip_and_objective_are_told() -> None:
    trained = Words(optim.SGD(0.1, clipnorm=0.5))
    words = "words/embeddings"
    assert words in rejected(trained.step, *specs(), optimizer=optim.SGD(0.2))
    assert words in rejected(trained.step, *specs(), clipping={"norm": 0.4})
    told = rejected(trained.step, *specs(), objective=lambda x, y: trained.loss(x[:, ::-1], y))
    assert f"another gradient: dense/bias, dense/kernel, small/embeddings, {words}" in told


def of_rows(function: Treat) -> Treat:
    """A function of rows, as one of a gradient that may consist of them."""

    def treat(gradient: Any) -> Any:
        if isinstance(gradient, tf.IndexedSlices):
            changed = function(gradient.values)
            return tf.IndexedSlices(changed, gradient.indices, gradient.dense_shape)
        return function(gradient)

    return treat


@pytest.mark.parametrize(
    ("treat", "clipping"),
    [
        (lambda g: tf.clip_by_value(g, -0.1, 0.1), (-0.1, 0.1)),
        (lambda g: tf.clip_by_norm(g, 0.3), {"norm": 0.3}),
        (lambda g: g * tf.minimum(1.0, 0.3 / tf.norm(g)), {"norm": 0.3}),
    ],
)
def test_clips_of_rows_by_hand(treat: Treat, clipping: Any) -> None:
    trained = Words(optim.SGD(0.1), treat=of_rows(treat))
    verify.assert_graph(trained.step, *specs(), clipping=clipping, optimizer=optim.SGD(0.1))
    assert "not clipped" not in rejected(trained.step, *specs(), clipping=None)


def test_a_factor_of_rows_is_told() -> None:
    trained = Words(optim.Adam(0.1), treat=of_rows(lambda g: 0.5 * g))
    assert "0.5 times that" in rejected(trained.step, *specs(), objective=trained.loss)
    verify.assert_graph(trained.step, *specs(), objective=trained.loss, allow_transforms=True)
