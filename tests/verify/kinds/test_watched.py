"""Watched variables, regularisation terms and clips: what reaches (or guards) which update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step, sum_of_losses

MSE = keras.losses.MeanSquaredError()
OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(momentum=0.9, centered=True),
    "adam": lambda: keras.optimizers.Adam(amsgrad=True),
    "adamw": lambda: keras.optimizers.AdamW(),
    "lion": lambda: keras.optimizers.Lion(),
    "adagrad": lambda: keras.optimizers.Adagrad(),
    "ema": lambda: keras.optimizers.SGD(0.1, use_ema=True),
}


def clip(gradients: list[Any]) -> list[Any]:
    return [tf.clip_by_value(gradient, -0.1, 0.1) for gradient in gradients]


def fails(*args: object, **expected: object) -> str:
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_graph(*args, **expected)
    return str(error.value)


# -- watched ------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, []])
def test_nothing_is_watched(nothing: Any) -> None:
    model = dense()
    idle = tf.function(lambda x, y: model(x) - y)
    verify.assert_graph(idle, *batch(), watched=nothing, unwatched=[], forbids=[], model=model)
    verify.assert_graph(idle, *batch(), loss=nothing, regularization=[], decayed=nothing)
    assert "watched: expected none" in fails(step(model, MSE), *batch(), watched=nothing)


@pytest.mark.parametrize("keyword", ["unwatched", "forbids"])
def test_what_forbids_by_itself_has_no_none(keyword: str) -> None:
    with pytest.raises(
        TypeError, match=f"^{keyword}: None (selects nothing|is no glob).*leave the keyword out"
    ):
        verify.assert_graph(step(dense(), MSE), *batch(), **{keyword: None})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_watched_variables_under_every_optimizer(name: str) -> None:
    model = dense()
    kernels = [layer.kernel for layer in model.layers]
    train = step(model, MSE, optimizer=OPTIMIZERS[name](), variables=kernels, treat=clip)
    verify.assert_graph(
        train,
        *batch(),
        loss=MSE,
        watched=kernels,
        unwatched="*bias" if name != "ema" else [],
        regularization=0,
        clipping=(-0.1, 0.1),
    )


def test_one_variable_too_many_or_too_few_is_named() -> None:
    model = dense()
    kernels = [layer.kernel for layer in model.layers]
    train = step(model, MSE, variables=[*kernels, model.layers[1].bias])
    assert f"too many: {model.layers[1].bias.path}" in fails(train, *batch(), watched=kernels)
    assert f"missing:  {model.layers[0].bias.path}" in fails(
        train, *batch(), watched="*", model=model
    )


def test_a_variable_written_by_hand_is_not_watched() -> None:
    model = dense()
    kernel, *others = model.trainable_variables
    train = step(
        model,
        MSE,
        variables=others,
        after=lambda x, y, p: kernel.assign(0.9 * kernel + 0.1 * tf.reduce_mean(p)),
    )
    verify.assert_graph(train, *batch(), watched=others)
    assert "by hand" in fails(train, *batch(), unwatched=kernel)


def test_weight_decay_is_no_gradient() -> None:
    model = dense()
    kernel, *others = model.trainable_variables
    train = step(model, MSE, variables=others, after=lambda x, y, p: kernel.assign(0.9 * kernel))
    verify.assert_graph(train, *batch(), watched=others, regularization=0)


def test_a_stopped_gradient_trains_nothing() -> None:
    model = dense()
    first, second = model.layers

    @tf.function
    def train(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = MSE(y, second(tf.stop_gradient(first(x))))
        gradients = tape.gradient(loss, [second.kernel.value, second.bias.value])
        second.kernel.assign_sub(0.1 * gradients[0])
        second.bias.assign_sub(0.1 * gradients[1])

    verify.assert_graph(train, *batch(), watched=[second.kernel, second.bias], loss=MSE)


def test_batch_normalization_statistics_are_not_watched() -> None:
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", MSE)
    verify.assert_graph(model, batch(), loss=MSE, watched="*", regularization=0, clipping=None)
    statistics = verify.facts(model, batch()).written.statistics
    assert any("moving_mean" in path for path in statistics)


# -- regularisation -----------------------------------------------------------------------------

REGULARIZERS = {
    "l1": keras.regularizers.L1(0.01),
    "l2": keras.regularizers.L2(0.02),
    "l1l2": keras.regularizers.L1L2(0.01, 0.02),
    "orthogonal": keras.regularizers.OrthogonalRegularizer(0.01),
}


@pytest.mark.parametrize("name", REGULARIZERS)
def test_keras_regularizers_are_told_apart(name: str) -> None:
    model = dense(kernel=REGULARIZERS[name])
    model.compile("rmsprop", MSE)
    kernel = model.layers[0].kernel
    verify.assert_graph(model, batch(), regularization=[(kernel, REGULARIZERS[name])], loss=MSE)
    for other in REGULARIZERS.keys() - {name}:
        message = fails(model, batch(), regularization=[(kernel, REGULARIZERS[other])])
        assert kernel.path in message


def test_the_factor_of_a_regularizer_counts() -> None:
    model = dense(kernel=keras.regularizers.L2(0.01))
    model.compile("sgd", MSE)
    message = fails(
        model, batch(), regularization=[("*dense*/kernel", keras.regularizers.L2(0.02))]
    )
    assert "expected L2(l2=0.02)" in message
    assert "found    L2(l2=0.01)" in message


@pytest.mark.parametrize("known", [True, False], ids=["model known", "graph alone"])
def test_terms_are_counted_per_variable_and_regularizer(known: bool) -> None:
    model = dense(kernel="l2", bias=keras.regularizers.L1L2(0.01, 0.02))
    train = step(model, MSE, extra=sum_of_losses(model))
    about = {"model": model} if known else {}
    verify.assert_graph(train, *batch(), regularization=2, loss=MSE, **about)
    verify.assert_graph(train, *batch(), regularization=True, **about)
    assert "L2(l2=0.01) on" in fails(train, *batch(), regularization=0, **about)
    without = step(model, MSE)
    verify.assert_graph(without, *batch(), regularization=False, **about)
    assert "found    none" in fails(without, *batch(), regularization=2, **about)


def test_a_regularizer_missing_from_one_layer_is_found() -> None:
    model = dense(kernel="l2", bias="l1")
    train = step(model, MSE, extra=lambda y, p: model.losses[0])
    message = fails(train, *batch(), regularization=2, model=model)
    assert "expected 2 terms" in message
    assert "found    1: L2" in message


class Cubic(keras.regularizers.Regularizer):
    def __call__(self, weight: tf.Tensor) -> tf.Tensor:
        return 0.01 * tf.reduce_sum(tf.abs(weight) ** 3)


def test_a_users_own_regularizer() -> None:
    cubic = Cubic()
    model = dense(kernel=cubic)
    model.compile("adam", MSE)
    verify.assert_graph(model, batch(), regularization=[(model.layers[0].kernel, cubic)], loss=MSE)
    verify.assert_graph(step(model, MSE, extra=sum_of_losses(model)), *batch(), regularization=1)


def test_a_regularizer_of_the_wrong_sign_is_found() -> None:
    model = dense(kernel="l2")
    train = step(model, MSE, extra=lambda y, p: -tf.add_n(model.losses))
    assert "weight -1" in fails(train, *batch(), regularization=1, model=model)


# -- clipping -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda g: tf.clip_by_value(g, -0.1, 0.1),
        lambda g: keras.ops.clip(g, -0.1, 0.1),
        lambda g: tf.maximum(tf.minimum(g, 0.1), -0.1),
        lambda g: tf.minimum(tf.maximum(-0.1, g), 0.1),
    ],
)
def test_clip_by_value_in_every_spelling(form: Callable[[Any], Any]) -> None:
    train = step(dense(), MSE, treat=lambda gradients: [form(g) for g in gradients])
    verify.assert_graph(train, *batch(), clipping=(-0.1, 0.1))
    assert "clipped to [-0.1, 0.1]" in fails(train, *batch(), clipping=(-1, 1))
    assert "expected none" in fails(train, *batch(), clipping=None)


def test_one_unclipped_gradient_among_many_is_named() -> None:
    model = dense()
    train = step(model, MSE, treat=lambda g: [*clip(g[:-1]), g[-1]])
    message = fails(train, *batch(), clipping=(-0.1, 0.1))
    assert "3 of 4 gradients clipped so" in message
    assert f"{model.layers[1].bias.path}: not clipped" in message


def test_a_clip_that_does_not_guard_the_update_does_not_count() -> None:
    model = dense()
    around = step(model, MSE, treat=lambda gs: [g + c for g, c in zip(gs, clip(gs), strict=True)])
    assert "0 of 4" in fails(around, *batch(), clipping=(-0.1, 0.1))
    metric = step(model, MSE, after=lambda x, y, p: tf.clip_by_value(p, -0.1, 0.1))
    assert "0 of 4" in fails(metric, *batch(), clipping=(-0.1, 0.1))
    forward = step(model, lambda y, p: MSE(y, tf.clip_by_value(p, -0.1, 0.1)))
    assert "0 of 4" in fails(forward, *batch(), clipping=(-0.1, 0.1))
    verify.assert_graph(metric, *batch(), clipping=None)


def test_a_clip_of_the_predictions_gradient_is_not_one_of_the_variables() -> None:
    @tf.custom_gradient
    def clipped(prediction: tf.Tensor) -> Any:
        return tf.identity(prediction), lambda upstream: tf.clip_by_value(upstream, -0.1, 0.1)

    train = step(dense(), lambda y, p: MSE(y, clipped(p)))
    assert "0 of 4" in fails(train, *batch(), clipping=(-0.1, 0.1))


def test_the_optimizers_own_clip_counts() -> None:
    model = dense()
    model.compile(keras.optimizers.Adam(clipvalue=0.5), MSE)
    verify.assert_graph(model, batch(), clipping=(-0.5, 0.5))


# -- targets ------------------------------------------------------------------------------------


def test_nested_functions_and_branches_are_looked_into() -> None:
    model = dense(kernel="l2")
    inner = step(model, MSE, extra=sum_of_losses(model), treat=clip)
    flag = tf.Variable(True, trainable=False, name="flag")

    @tf.function
    def outer(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(2):
            tf.cond(flag, lambda: inner(x, y), lambda: 0.0)
        return x

    verify.assert_graph(
        outer, *batch(), loss=MSE, regularization=1, clipping=(-0.1, 0.1), watched="*"
    )
    assert "flag" in {
        name for guard in verify.facts(outer, *batch()).guards for name in guard.variables
    }


def test_arguments_in_every_form() -> None:
    model = dense()
    model.compile("sgd", MSE)
    x, y = tf.zeros((8, 4)), tf.zeros((8, 1))
    verify.assert_graph(model, (x, y), loss=MSE)
    verify.assert_graph(model, x, y, loss=MSE)
    verify.assert_graph(model, [x.numpy(), y.numpy()], loss=MSE)
    verify.assert_graph(model, (x, y, tf.ones((8,))), loss=MSE)


def test_wrong_arguments_are_refused() -> None:
    model = dense()
    with pytest.raises(TypeError, match="not compiled"):
        verify.facts(model, batch())
    with pytest.raises(TypeError, match=r"expected a tf\.function or another callable"):
        verify.facts(42)
    model.compile("sgd", MSE)
    with pytest.raises(TypeError, match="give a batch"):
        verify.assert_graph(model)
    with pytest.raises(ValueError, match="matches no trainable variable"):
        verify.assert_graph(model, batch(), watched="*gamma")


def test_a_step_without_any_variable_trains_none() -> None:
    nothing = tf.function(lambda x: x + 1)
    verify.assert_graph(nothing, tf.TensorSpec((2,)), watched=None)
    with pytest.raises(verify.GraphAssertionError, match="the step has no variables"):
        verify.assert_graph(nothing, tf.TensorSpec((2,)), watched="*")
