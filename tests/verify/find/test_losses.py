"""Which data loss trains a step: found by its gradient, never by the names of its ops."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

import verify
from tests.grids import grid
from tests.verify.steps import batch, dense, step, sum_of_losses
from verify.find import Detector
from verify.step import capture

LOSSES = {
    "mse": keras.losses.MeanSquaredError(),
    "mse summed": keras.losses.MeanSquaredError(reduction="sum"),
    "mae": keras.losses.MeanAbsoluteError(),
    "huber": keras.losses.Huber(),
    "huber 2": keras.losses.Huber(2.0),
    "log cosh": keras.losses.LogCosh(),
    "hinge": keras.losses.Hinge(),
    "poisson": keras.losses.Poisson(),
    "mape": keras.losses.MeanAbsolutePercentageError(),
    "msle": keras.losses.MeanSquaredLogarithmicError(),
    "cosine": keras.losses.CosineSimilarity(),
    "bce": keras.losses.BinaryCrossentropy(),
    "bce logits": keras.losses.BinaryCrossentropy(from_logits=True),
    "bce smooth": keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
    "kld": keras.losses.KLDivergence(),
}


def fails(*args: object, **expected: object) -> str:
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_graph(*args, **expected)
    return str(error.value)


@pytest.mark.parametrize(("name", "size"), grid([*LOSSES], [8, None]))
def test_exactly_the_loss_of_a_step_is_recognised(name: str, size: int | None) -> None:
    model = dense(outputs=3)
    train = step(model, LOSSES[name])
    found = Detector(capture(train, *batch(size, outputs=3)))
    recognised = {
        other
        for other, loss in LOSSES.items()
        if any(match.weight == pytest.approx(1) for match in found.losses(loss)[0])
    }
    assert recognised == {name}


@pytest.mark.parametrize(
    ("optimizer", "name"),
    grid(
        ["sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam"],
        ["mse", "mae", "huber", "bce logits"],
    ),
)
def test_the_compiled_loss_of_a_keras_model(optimizer: str, name: str) -> None:
    model = dense(kernel="l2")
    model.compile(optimizer, LOSSES[name], metrics=["mae", "mse"])
    verify.assert_graph(model, batch(), loss=LOSSES[name], regularization=1, watched="*")


@pytest.mark.parametrize(
    ("activation", "loss", "outputs", "target"),
    [
        ("softmax", keras.losses.CategoricalCrossentropy(), 3, 3),
        ("softmax", keras.losses.SparseCategoricalCrossentropy(), 3, None),
        (None, keras.losses.SparseCategoricalCrossentropy(from_logits=True), 3, None),
        (None, keras.losses.CategoricalCrossentropy(from_logits=True), 3, 3),
        ("sigmoid", keras.losses.BinaryCrossentropy(), 1, 1),
        ("sigmoid", keras.losses.BinaryFocalCrossentropy(), 1, 1),
    ],
)
def test_crossentropies_behind_their_activation(
    activation: str | None, loss: keras.losses.Loss, outputs: int, target: int | None
) -> None:
    model = dense(outputs=outputs, activation=activation)
    model.compile("adam", loss)
    y = tf.TensorSpec((8,), tf.int32) if target is None else tf.TensorSpec((8, target))
    verify.assert_graph(model, (batch()[0], y), loss=loss)
    assert "loss" in fails(model, (batch()[0], y), loss=keras.losses.MeanSquaredError())


def quartic(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean((y_true - y_pred) ** 4, axis=-1)


def test_a_users_own_loss_function() -> None:
    model = dense()
    model.compile("sgd", quartic)
    verify.assert_graph(model, batch(), loss=quartic)
    assert "expected mse" in fails(model, batch(), loss="mse")
    hand_written = step(dense(), lambda y, p: tf.reduce_mean(quartic(y, p)))
    verify.assert_graph(hand_written, *batch(), loss=quartic)


def test_a_metric_of_the_same_ops_is_not_the_loss() -> None:
    model = dense()
    model.compile("sgd", "mse", metrics=["mae"])
    assert "found    MeanSquaredError of" in fails(model, batch(), loss="mae")
    verify.assert_graph(model, batch(), loss="mse")


def test_a_loss_that_is_computed_but_not_differentiated_does_not_count() -> None:
    mae = keras.losses.MeanAbsoluteError()
    train = step(
        dense(),
        keras.losses.MeanSquaredError(),
        extra=lambda y, p: tf.stop_gradient(mae(y, p)),
    )
    verify.assert_graph(train, *batch(), loss="mse")


def test_two_losses_are_both_named() -> None:
    mse, mae = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()
    train = step(dense(), mse, extra=mae)
    verify.assert_graph(train, *batch(), loss=[mse, mae])
    assert "MeanAbsoluteError" in fails(train, *batch(), loss=mse)


def test_a_loss_behind_an_activation_is_found_once() -> None:
    """By the probabilities as well as by their logits: that is one gradient."""
    inputs = keras.Input((4,))
    heads = [keras.layers.Dense(1, "sigmoid")(inputs), keras.layers.Dense(2)(inputs)]
    model = keras.Model(inputs, heads)
    model.compile("sgd", ["mse", "mae"])
    specs = (tf.TensorSpec((8, 4)), (tf.TensorSpec((8, 1)), tf.TensorSpec((8, 2))))
    verify.assert_graph(model, specs, loss=["mse", "mae"])
    assert "no gradient of it" in fails(model, specs, loss=["mse", "mse", "mae"])


def test_the_weight_of_a_loss_counts() -> None:
    mse = keras.losses.MeanSquaredError()
    train = step(dense(), lambda y, p: 0.5 * mse(y, p))
    assert "weight 0.5" in fails(train, *batch(), loss=mse)


UNREDUCED = keras.losses.MeanSquaredError(reduction="none")
BY_HAND = {
    "a mean": lambda y, p: tf.reduce_mean(UNREDUCED(y, p)),
    "a mean of a function": lambda y, p: tf.reduce_mean(keras.losses.mean_squared_error(y, p)),
    "an average": lambda y, p: tf.nn.compute_average_loss(UNREDUCED(y, p)),
    "Keras": keras.losses.MeanSquaredError(),
}


@pytest.mark.parametrize("size", [8, None])
@pytest.mark.parametrize("reduced", BY_HAND)
def test_a_loss_that_is_reduced_by_hand(reduced: str, size: int | None) -> None:
    train = step(dense(), BY_HAND[reduced])
    verify.assert_graph(train, *batch(size), loss=UNREDUCED)
    if reduced != "an average":
        verify.assert_graph(train, *batch(size), loss=keras.losses.MeanSquaredError())
    assert "expected LogCosh" in fails(train, *batch(size), loss=keras.losses.LogCosh())


def test_a_sum_is_no_mean_and_its_weight_is_told() -> None:
    """The global batch of several replicas, say, which no reference can know."""
    summed = keras.losses.MeanSquaredError(reduction="sum")

    def average(y: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
        return tf.nn.compute_average_loss(UNREDUCED(y, p), global_batch_size=32)

    train = step(dense(), average)
    for mean in (UNREDUCED, keras.losses.MeanSquaredError()):
        assert "found    weight 0.25" in fails(train, *batch(), loss=mean)
        assert "reduction='sum')" in fails(step(dense(), summed), *batch(), loss=mean)
    verify.assert_graph(train, *batch(), loss=(summed, 1 / 32))


def test_zero_times_a_loss_is_none() -> None:
    mse, mae = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()
    train = step(dense(), mse, extra=lambda y, p: 0.0 * mae(y, p))
    verify.assert_graph(train, *batch(), loss=mse, watched="*")
    verify.assert_graph(train, *batch(), loss=[mse, (mae, 0.0)])
    assert "weight 0" in fails(train, *batch(), loss=[mse, mae])


def test_sample_weights_belong_to_the_loss() -> None:
    model = dense()
    model.compile("sgd", "mse")
    weighted = (*batch(), tf.TensorSpec((8,)))
    verify.assert_graph(model, weighted, loss="mse")


def test_no_data_loss() -> None:
    model = dense(kernel="l2")
    train = step(
        model,
        lambda y, p: tf.constant(0.0),
        variables=[model.layers[0].kernel],
        extra=sum_of_losses(model),
    )
    verify.assert_graph(train, *batch(), loss=None, regularization=1)
    assert "no data loss" in fails(step(model, keras.losses.Huber()), *batch(), loss=None)


def test_a_loss_against_something_else_than_the_target_is_found_out() -> None:
    model = dense(features=3, outputs=3)
    mse = keras.losses.MeanSquaredError()

    @tf.function
    def reconstructs(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = mse(x, model(x, training=True))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.1 * gradient)

    assert "another data loss" in fails(reconstructs, *batch(features=3, outputs=3), loss=mse)
