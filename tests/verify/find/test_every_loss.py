"""Every loss that Keras ships, in each reduction, is told from the same loss in another."""

from __future__ import annotations

import functools
import re
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import Asked, batch, dense, step
from verify.references import loss_name

# What a loss is a loss of: activation, number of outputs, spec of the target.
REAL: tuple[Any, ...] = (None, 3, tf.TensorSpec((8, 3)))
POSITIVE: tuple[Any, ...] = ("softplus", 3, tf.TensorSpec((8, 3)))
CLASSES: tuple[Any, ...] = ("softmax", 3, tf.TensorSpec((8, 3)))
INDEX: tuple[Any, ...] = ("softmax", 3, tf.TensorSpec((8,), tf.int32))
LOGITS: tuple[Any, ...] = (None, 3, tf.TensorSpec((8,), tf.int32))
CHANCE: tuple[Any, ...] = ("sigmoid", 1, tf.TensorSpec((8, 1)))

LOSSES: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "BinaryCrossentropy": [
        (CHANCE, {}),
        (REAL, {"from_logits": True}),
        (REAL, {"from_logits": True, "label_smoothing": 0.1}),
    ],
    "BinaryFocalCrossentropy": [(CHANCE, {}), (REAL, {"from_logits": True, "gamma": 1.0})],
    "CategoricalCrossentropy": [(CLASSES, {}), (REAL, {"from_logits": True})],
    "CategoricalFocalCrossentropy": [(CLASSES, {}), (CLASSES, {"label_smoothing": 0.1})],
    "CategoricalGeneralizedCrossEntropy": [(INDEX, {})],
    "CategoricalHinge": [(REAL, {})],
    "Circle": [(LOGITS, {})],
    "CosineSimilarity": [(REAL, {})],
    "Dice": [(CHANCE, {})],
    "Hinge": [(REAL, {})],
    "Huber": [(REAL, {}), (REAL, {"delta": 2.0})],
    "KLDivergence": [(CLASSES, {})],
    "LogCosh": [(REAL, {})],
    "MeanAbsoluteError": [(REAL, {})],
    "MeanAbsolutePercentageError": [(REAL, {})],
    "MeanSquaredError": [(REAL, {})],
    "MeanSquaredLogarithmicError": [(POSITIVE, {})],
    "Poisson": [(POSITIVE, {})],
    "SparseCategoricalCrossentropy": [(INDEX, {}), (LOGITS, {"from_logits": True})],
    "SquaredHinge": [(REAL, {})],
    "Tversky": [(CHANCE, {})],
}
# Its target is no batch of values but of sequences with lengths of their own.
ELSEWHERE = {"CTC"}
# They reduce the batch themselves, so that both reductions are the same.
SCALARS = {"Dice", "Tversky"}
SHIPPED = {
    name
    for name, found in vars(keras.losses).items()
    if isinstance(found, type)
    and issubclass(found, keras.losses.Loss)
    and found is not keras.losses.Loss
}
CASES = [
    pytest.param(name, form, options, id="-".join([name, *map(str, options)]))
    for name in LOSSES.keys() & SHIPPED
    for form, options in LOSSES[name]
]
CASES.sort(key=lambda case: str(case.id))  # the same in every worker


def test_no_loss_of_keras_is_missing_here() -> None:
    assert LOSSES.keys() >= SHIPPED - ELSEWHERE


def test_settings_that_are_not_the_default_are_in_the_name() -> None:
    assert (
        loss_name(keras.losses.Huber(2.0, reduction="sum")) == "Huber(reduction='sum', delta=2.0)"
    )
    assert loss_name(keras.losses.Huber()) == "Huber"


def traced(form: tuple[Any, ...], loss: Any) -> tuple[Any, Any, Any]:
    activation, outputs, target = form
    train = step(dense(outputs=outputs, activation=activation), loss)
    return train, tf.TensorSpec((8, 4)), target


@pytest.mark.parametrize(("name", "form", "options"), CASES)
def test_a_loss_in_each_reduction(
    name: str, form: tuple[Any, ...], options: dict[str, Any]
) -> None:
    made = getattr(keras.losses, name)
    for reduction in ("sum_over_batch_size", "sum"):
        asked = Asked(*traced(form, made(**options, reduction=reduction)))
        assert asked(loss=made(**options, reduction=reduction)) == ""
        if name in SCALARS:
            continue
        other = "sum" if reduction != "sum" else "sum_over_batch_size"
        there = re.escape(loss_name(made(**options, reduction=reduction)))
        # Seen as a sum, a mean over a batch of known size has a constant factor.
        told = asked(loss=made(**options, reduction=other))
        assert re.search(f"found    (weight 0.125|{there})", told)


def test_the_reduction_of_a_batch_of_any_size_is_named() -> None:
    for reduction, other in ("sum", "sum_over_batch_size"), ("sum_over_batch_size", "sum"):
        train = step(dense(), keras.losses.Huber(reduction=reduction))
        with pytest.raises(verify.GraphAssertionError) as error:
            verify.assert_graph(train, *batch(None), loss=keras.losses.Huber(reduction=other))
        assert f"found    {loss_name(keras.losses.Huber(reduction=reduction))} of" in str(
            error.value
        )


def test_a_loss_that_the_step_reduces_itself() -> None:
    each = keras.losses.Huber(reduction=None)
    target = traced(REAL, lambda y, p: tf.reduce_sum(each(y, p)))
    verify.assert_graph(*target, loss=keras.losses.Huber(reduction="sum"))


def by_the_recursion(y: Any, p: Any, blank: int = 0) -> Any:
    letters, times = tf.math.count_nonzero(y, -1, dtype=tf.int32), tf.fill(tf.shape(y)[:1], 6)
    each = tf.nn.ctc_loss(y, p, letters, times, logits_time_major=False, blank_index=blank)
    return tf.reduce_mean(each)


@pytest.mark.parametrize("loss", [keras.losses.CTC(), by_the_recursion], ids=["keras", "by hand"])
def test_connectionist_temporal_classification(loss: Any) -> None:
    model = keras.Sequential([keras.Input((6, 4)), keras.layers.Dense(5)])
    specs = tf.TensorSpec((8, 6, 4)), tf.TensorSpec((8, 3), tf.int32)
    train = step(model, loss)
    verify.assert_graph(train, *specs, loss=keras.losses.CTC())
    verify.assert_graph(train, *specs, objective=lambda x, y: by_the_recursion(y, model(x)))
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(train, *specs, loss=keras.losses.CTC(reduction="sum"))
    last = functools.partial(by_the_recursion, blank=4)
    with pytest.raises(verify.GraphAssertionError, match="another gradient"):
        verify.assert_graph(train, *specs, objective=lambda x, y: last(y, model(x)))


CROSSENTROPIES = {
    "CategoricalCrossentropy": ("softmax", tf.TensorSpec((None, 3))),
    "SparseCategoricalCrossentropy": ("softmax", tf.TensorSpec((None,), tf.int32)),
    "BinaryCrossentropy": ("sigmoid", tf.TensorSpec((None, 3))),
}


@pytest.mark.parametrize("time", [(), (None,)], ids=["batch", "batch and time"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["probabilities", "logits"])
@pytest.mark.parametrize("name", CROSSENTROPIES)
def test_a_classifier_at_a_batch_of_any_size(
    name: str, from_logits: bool, time: tuple[None, ...]
) -> None:
    """TensorFlow reshapes logits by their own shape, which is no second value they depend on."""
    activation, target = CROSSENTROPIES[name]
    head = keras.layers.Dense(3, None if from_logits else activation)
    model = keras.Sequential([keras.Input((*time, 4)), keras.layers.Dense(5, "tanh"), head])
    loss = getattr(keras.losses, name)(from_logits=from_logits)
    model.compile("sgd", loss)
    size, *rest = target.shape
    y = tf.TensorSpec((size, *time, *rest), target.dtype)
    verify.assert_graph(model, (tf.TensorSpec((None, *time, 4)), y), loss=loss)


@pytest.mark.parametrize("shape", [(8,), (8, 1), (None,)])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_integer_labels_that_no_loss_object_casts(
    dtype: str, shape: tuple[int | None, ...]
) -> None:
    function = keras.losses.sparse_categorical_crossentropy
    train = step(
        dense(outputs=3, activation="softmax"), lambda y, p: tf.reduce_mean(function(y, p))
    )
    specs = tf.TensorSpec((shape[0], 4)), tf.TensorSpec(shape, dtype)
    for loss in (keras.losses.SparseCategoricalCrossentropy(), function):
        verify.assert_graph(train, *specs, loss=loss)
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(
            train, *specs, loss=keras.losses.SparseCategoricalCrossentropy(reduction="sum")
        )
