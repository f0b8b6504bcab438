"""What multiplies a loss and what divides its gradients: a weight of it, or a loss scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras import layers, optimizers

import verify
from tests.verify.steps import batch, step

MSE = keras.losses.MeanSquaredError()
Gradients = list[Any]


def times(factor: float) -> Callable[[Any, Any], Any]:
    return lambda y, prediction: factor * MSE(y, prediction)


def divided(by: float) -> Callable[[Gradients], Gradients]:
    return lambda gradients: [g / by for g in gradients]


def model(*last: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(1), *last])


def by_hand(loss: Callable[[Any, Any], Any], update: Callable[[Any, Any], Any]) -> Any:
    """A step without an optimizer: `update` is called with each variable and its gradient."""
    trained = model()

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(y, trained(x))
        variables = trained.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True):
            update(variable, gradient)

    return train


SCALED: dict[str, Callable[[], Any]] = {
    "a division": lambda: step(model(), times(1024), treat=divided(1024)),
    "a product": lambda: step(
        model(),
        times(1024),
        treat=lambda gradients: [g * (1 / 1024) for g in gradients],
        optimizer=optimizers.Adam(),
    ),
    "then a clip": lambda: step(
        model(),
        times(1024),
        treat=lambda gradients: [tf.clip_by_value(g / 1024, -1, 1) for g in gradients],
        optimizer=optimizers.Lion(),
    ),
    "accumulated": lambda: step(
        model(),
        times(1024),
        treat=divided(1024),
        optimizer=optimizers.SGD(0.1, 0.9, gradient_accumulation_steps=4),
    ),
    "a step by hand": lambda: by_hand(times(1024), lambda v, g: v.assign_sub(0.1 * g / 1024)),
}
# Each has, somewhere, the reciprocal of the factor: but not to unscale a gradient.
WEIGHTED: dict[str, Callable[[], Any]] = {
    "a step size": lambda: by_hand(times(10), lambda v, g: v.assign_sub(0.1 * g)),
    "a difference": lambda: by_hand(times(10), lambda v, g: v.assign(v - g * 0.1)),
    "a layer": lambda: step(model(layers.Rescaling(0.1)), times(10)),
    "a dropout": lambda: step(model(layers.Dropout(0.9)), times(0.1)),
    "a step size that is clipped": lambda: by_hand(
        times(10), lambda v, g: v.assign(tf.clip_by_value(v - 0.1 * g, -1.0, 1.0))
    ),
    "a momentum": lambda: step(
        model(), times(10), optimizer=optimizers.Adam(beta_1=0.9, beta_2=0.9)
    ),
    "momenta of Lion": lambda: step(model(), times(10), optimizer=optimizers.Lion()),
    "momenta of Adam": lambda: step(model(), times(10), optimizer=optimizers.Adam()),
}


def test_a_constant_scale_is_divided_out_once() -> None:
    twice = step(model(), times(1024), treat=lambda gradients: [g / 1024 / 1024 for g in gradients])
    with pytest.raises(verify.GraphAssertionError, match="weight 1024"):
        verify.assert_graph(twice, *batch(), loss=MSE)


@pytest.mark.parametrize("kind", SCALED)
def test_a_constant_scale_that_is_divided_out_is_no_weight(kind: str) -> None:
    verify.assert_graph(SCALED[kind](), *batch(), loss=MSE)


@pytest.mark.parametrize("kind", WEIGHTED)
def test_a_factor_is_a_weight_whatever_else_holds_its_reciprocal(kind: str) -> None:
    with pytest.raises(verify.GraphAssertionError, match=r"weight (10|0\.1)\n"):
        verify.assert_graph(WEIGHTED[kind](), *batch(), loss=MSE)


class Own(keras.Model):
    """A model with a train step of its own, which may forget to scale its loss."""

    def __init__(self, *, scales: bool) -> None:
        super().__init__()
        self.dense, self.scales = layers.Dense(1), scales

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x))
            if self.scales:
                loss = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {}


@pytest.mark.parametrize("scales", [True, False])
def test_a_loss_scale_has_to_multiply_the_loss_that_it_divides(scales: bool) -> None:
    """Keras gives models in half precision an optimizer that divides, whoever multiplies."""
    own = Own(scales=scales)
    own(tf.zeros((8, 4)))
    own.compile(optimizers.LossScaleOptimizer(optimizers.Adam()), "mse")
    own.optimizer.build(own.trainable_variables)
    if scales:
        verify.assert_graph(own, batch(), loss="mse")
        return
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_graph(own, batch(), loss="mse")
    assert "divided by loss_scale_optimizer/dynamic_scale, a loss scale" in str(error.value)
    assert "optimizer.scale_loss" in str(error.value)


def test_a_variable_that_divides_gradients_is_a_scale_only_if_it_is_adapted_as_one() -> None:
    """Gradients may be divided by anything, a count of batches, say."""
    count = tf.Variable(0.0, trainable=False)

    def treat(gradients: Gradients) -> Gradients:
        count.assign_add(1.0)
        return [g / count for g in gradients]

    verify.assert_graph(step(model(), MSE, treat=treat), *batch(), loss=MSE)

    def grown(gradients: Gradients) -> Gradients:
        count.assign(2.0 * count)
        return [g / count for g in gradients]

    verify.assert_graph(step(model(), MSE, treat=grown), *batch(), loss=MSE)


def adapted(divide: Callable[[Any, Any], Any], *, multiply: bool = True) -> Any:
    """A step with a dynamic loss scale by hand."""
    scale = tf.Variable(1024.0, trainable=False, name="scale")

    def treat(gradients: Gradients) -> Gradients:
        gradients = [divide(g, scale) for g in gradients]
        finite = tf.reduce_all(tf.math.is_finite(gradients[0]))
        scale.assign(tf.cond(finite, lambda: tf.minimum(2.0 * scale, 1e5), lambda: scale / 2.0))
        return gradients

    return step(model(), lambda y, p: (scale if multiply else 1.0) * MSE(y, p), treat=treat)


@pytest.mark.parametrize(
    "divide",
    [
        lambda g, s: g / s,
        lambda g, s: g * (1.0 / s),
        lambda g, s: tf.math.reciprocal(s) * g,
        lambda g, s: tf.math.divide_no_nan(g, s),
        lambda g, s: g / tf.cast(tf.cast(s, "float64"), "float32"),
        lambda g, s: tf.clip_by_value(g / s, -1, 1) * s / s,
    ],
)
def test_a_division_in_other_words(divide: Callable[[Any, Any], Any]) -> None:
    verify.assert_graph(adapted(divide), *batch(), loss=MSE)
    with pytest.raises(verify.GraphAssertionError, match="divided by scale, a loss scale that"):
        verify.assert_graph(adapted(divide, multiply=False), *batch(), loss=MSE)


@pytest.mark.parametrize(
    "divide",
    [lambda g, s: g, lambda g, s: g / s / s, lambda g, s: g * s],
    ids=["not", "twice", "*"],
)
def test_a_scale_divides_once(divide: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(verify.GraphAssertionError, match="not divided by it once"):
        verify.assert_graph(adapted(divide), *batch(), loss=MSE)


@pytest.mark.parametrize(
    ("finite", "waits"), [(tf.math.is_finite, True), (lambda gradient: gradient == gradient, False)]
)
def test_gradients_are_asked_whether_they_are_finite_before_they_are_divided(
    finite: Callable[[Any], Any], waits: bool
) -> None:
    """That is no way around the division, neither to the scale nor to an update that waits."""
    scale = tf.Variable(1024.0, trainable=False, name="scale")

    def update(variable: Any, gradient: Any) -> None:
        fine = tf.reduce_all(finite(gradient))
        scale.assign(tf.where(fine, scale, 0.5 * scale))
        step = variable - 0.1 * (gradient / scale)
        variable.assign(tf.where(fine, step, variable) if waits else step)

    train = by_hand(lambda y, p: scale * MSE(y, p), update)
    verify.assert_graph(train, *batch(), loss=MSE)


def test_a_scale_that_a_pass_before_has_adapted() -> None:
    """As where a discriminator and a generator share one; here, of predictions of two shapes."""
    first, second = model(), model(layers.Reshape((1, 1)))
    scale = tf.Variable(1024.0, trainable=False, name="scale")

    @tf.function
    def train(x: Any, y: Any) -> None:
        for trained, target in ((first, y), (second, tf.expand_dims(y, -1))):
            with tf.GradientTape() as tape:
                loss = scale * MSE(target, trained(x))
            variables = trained.trainable_variables
            gradients = [g / scale for g in tape.gradient(loss, variables)]
            finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
            scale.assign(scale * tf.where(finite, 1.0, 0.5))
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.assign_sub(0.1 * gradient)

    verify.assert_graph(train, *batch(), loss=[MSE, MSE], watched="*")
    with pytest.raises(verify.GraphAssertionError, match=r"data loss|MeanSquaredError"):
        verify.assert_graph(train, *batch(), loss=MSE)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_loss_scale_of_several_outputs(noise: float) -> None:
    """What trains one output is divided for that one; noise is no part of backpropagation."""
    x = keras.Input((4,))
    hidden = layers.Dense(3)(x)
    two = keras.Model(x, [layers.Dense(1, name=name)(hidden) for name in ("a", "b")])
    scaling = optimizers.LossScaleOptimizer(optimizers.SGD(0.1))
    scaling.build(two.trainable_variables)

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.add_n([MSE(y, prediction) for prediction in two(x)])
            scaled = scaling.scale_loss(loss)
        found = tape.gradient(scaled, two.trainable_variables)
        if noise:
            by = scaling.dynamic_scale
            found = [by * (g / by + noise * tf.random.normal(g.shape)) for g in found]
        scaling.apply(found, two.trainable_variables)

    asked = {"loss": [MSE, MSE], "allow_transforms": bool(noise)}
    verify.assert_graph(train, *batch(), model=two, **asked)
