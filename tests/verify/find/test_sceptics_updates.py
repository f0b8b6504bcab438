"""Updates and treatments of gradients that a sceptic had found told as something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step
from tests.verify.updates import BATCH, Seen, rejected, state, step_of

optim = keras.optimizers
MSE = keras.losses.MeanSquaredError()


# -- what passes and should not ------------------------------------------------------------------


@pytest.mark.parametrize(
    "treat", [lambda g: g * tf.minimum(1.0, 0.5 / tf.norm(g)), lambda g: g / tf.norm(g)]
)
def test_a_norm_in_a_descent_by_hand_limits_gradients(treat: Callable[[Any], Any]) -> None:
    train = step_of({"weight": lambda g, v: v.value.assign_sub(0.1 * treat(g))})
    rejected(train, BATCH, clipping=None)


def test_a_clip_by_norm_in_a_descent_by_hand_is_one() -> None:
    train = step_of(
        {"weight": lambda g, v: v.value.assign_sub(0.1 * g * tf.minimum(1.0, 0.5 / tf.norm(g)))}
    )
    verify.assert_graph(train, BATCH, clipping={"norm": 0.5})


def test_a_momentum_by_hand_is_no_plain_descent() -> None:
    kept = state()
    apply = lambda g, v: v.value.assign_sub(0.1 * kept.assign(0.9 * kept + g))  # noqa: E731
    seen = Seen(step_of({"weight": apply}))
    assert not seen.is_as("weight", optim.SGD(0.1))


def test_weight_decay_of_which_variables_are_spared_is_another() -> None:
    model, spares = dense(), optim.AdamW(0.01, weight_decay=0.1)
    spares.exclude_from_weight_decay(var_names=["bias"])
    model.compile(spares, MSE)
    verify.assert_graph(model, batch(), optimizer=spares)
    rejected(model, batch(), optimizer=optim.AdamW(0.01, weight_decay=0.1))


# -- what fails and should not -------------------------------------------------------------------


class Scaled(keras.layers.Layer):
    """Multiplies by a number that is trained."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.scale * x


@pytest.mark.parametrize("make", [lambda: optim.Adam(0.1), lambda: optim.SGD(0.1, momentum=0.9)])
def test_a_number_is_updated_by_the_optimizer(make: Callable[[], Any]) -> None:
    model = keras.Sequential([keras.Input((4,)), Scaled(), keras.layers.Dense(1)])
    model.compile(make(), MSE)
    verify.assert_graph(model, batch(), optimizer=make(), learning_rate=0.1)


def test_a_global_norm_by_hand_where_a_variable_has_one_element() -> None:
    def treat(gradients: list[Any]) -> list[Any]:
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(g * g) for g in gradients]))
        return [g * tf.minimum(1.0, 0.5 / norm) for g in gradients]

    train = step(dense(), MSE, treat=treat)
    verify.assert_graph(train, *batch(), clipping={"global_norm": 0.5})


def test_a_weight_of_a_loss_is_no_learning_rate() -> None:
    model, weight = dense(), tf.Variable(1.0, trainable=False)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = weight * MSE(y, model(x))
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        for gradient, variable in zip(gradients, variables, strict=True):
            variable.value.assign_sub(0.1 * gradient)

    verify.assert_graph(train, *batch(), learning_rate=0.1)


@pytest.mark.parametrize("steps", [3, 7])
def test_gradients_of_several_steps_are_added_up(steps: int) -> None:
    optimizer = optim.SGD(0.1, gradient_accumulation_steps=steps)
    seen = Seen(step_of({"weight": optimizer}))
    assert seen.rule("weight").optimizer is optimizer


def test_an_optimizer_by_its_config() -> None:
    model = dense()
    model.compile(optim.SGD(0.1), MSE)
    verify.assert_graph(model, batch(), optimizer=optim.serialize(optim.SGD(0.1)))


def test_what_nadam_keeps_is_no_weight() -> None:
    train = step(dense(), MSE, optimizer=optim.Nadam(0.1))
    verify.assert_graph(train, *batch(), decayed=None, watched="*")


def test_momentum_is_as_that_of_keras_where_the_rate_is_outside_of_it() -> None:
    kept = state()
    apply = lambda g, v: v.value.assign_sub(0.1 * kept.assign(0.9 * kept + g))  # noqa: E731
    seen = Seen(step_of({"weight": apply}))
    assert seen.is_as("weight", optim.SGD(0.1, momentum=0.9))


def test_optimizers_of_an_object_that_is_called() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model, self.optimizer = dense(), optim.Adam(0.1)
            self.optimizer.build(self.model.trainable_variables)

        def __call__(self, x: Any, y: Any) -> None:
            with tf.GradientTape() as tape:
                loss = MSE(y, self.model(x))
            variables = self.model.trainable_variables
            gradients = tape.gradient(loss, [v.value for v in variables])
            self.optimizer.apply(gradients, variables)

    verify.assert_graph(Trainer(), *batch(), learning_rate=0.1)
