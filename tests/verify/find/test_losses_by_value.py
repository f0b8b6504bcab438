"""A loss is what it computes: every spelling of it holds, and what is only nearly it does not."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.find.spellings import SPELLINGS, Spelling
from tests.verify.steps import batch, dense, step
from verify.find import Detector
from verify.step import capture

SAME = [(name, i) for name, spelt in SPELLINGS.items() for i in range(len(spelt.same))]
MISSES = [(name, i) for name, spelt in SPELLINGS.items() for i in range(len(spelt.misses))]


def classifier(name: str, spelling: Spelling, size: int | None, policy: str | None = None) -> Any:
    """(a step that differentiates a spelling, x, y)."""
    spelt = SPELLINGS[name]
    model = dense(outputs=3, activation=spelt.activation, policy=policy)
    x, y = batch(size, outputs=3)
    if spelt.classes:
        y = tf.TensorSpec((size,), tf.int64)
    return step(model, spelling), x, y, model


@pytest.mark.parametrize(("name", "which"), SAME)
def test_every_spelling_of_a_loss_is_that_loss(name: str, which: int) -> None:
    spelt = SPELLINGS[name]
    train, x, y, model = classifier(name, spelt.same[which], None if which % 2 else 8)
    verify.assert_graph(train, x, y, loss=spelt.loss, model=model)


@pytest.mark.parametrize(("name", "which"), MISSES)
def test_what_is_only_nearly_a_loss_is_not(name: str, which: int) -> None:
    spelt = SPELLINGS[name]
    train, x, y, model = classifier(name, spelt.misses[which], None if which % 2 else 8)
    detector = Detector(capture(train, x, y, model=model))
    found, _ = detector.losses(spelt.loss)
    weights = [one.weight for one in found]
    assert weights != [1.0] or detector.rest(found)[0]


@pytest.mark.parametrize("name", ["mse", "huber", "bce_logits", "cce_logits", "hinge"])
def test_half_precision_is_no_other_spelling(name: str) -> None:
    spelt = SPELLINGS[name]
    for spelling, same in ((spelt.same[1], True), (spelt.misses[0], False)):
        train, x, y, model = classifier(
            name, lambda y, p, f=spelling: f(y, tf.cast(p, tf.float32)), 8, "mixed_float16"
        )
        detector = Detector(capture(train, x, y, model=model))
        found, _ = detector.losses(spelt.loss)
        assert ([one.weight for one in found] == [1.0]) == same


@pytest.mark.parametrize("dtype", [tf.int32, tf.bool])
def test_labels_that_are_no_real_numbers(dtype: tf.DType) -> None:
    """What differs for one label only is another loss."""
    bce, model = keras.losses.BinaryCrossentropy(), dense(outputs=3, activation="sigmoid")
    x, y = batch(outputs=3)

    def crossentropy(positive: float) -> Spelling:
        def loss(y: Any, p: Any) -> Any:
            y = tf.cast(y, tf.float32)
            return -tf.reduce_mean(positive * y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))

        return loss

    labels = tf.TensorSpec(y.shape, dtype)
    verify.assert_graph(step(model, crossentropy(1.0)), x, labels, loss=bce, model=model)
    with pytest.raises(verify.GraphAssertionError, match="loss"):
        verify.assert_graph(step(model, crossentropy(1.1)), x, labels, loss=bce, model=model)


def test_a_loss_within_a_loop_of_steps() -> None:
    """As in a train function that makes several steps an execution."""
    model = dense()
    model.compile("sgd", lambda y, p: tf.reduce_mean((y - p) ** 2), steps_per_execution=3)
    model.make_train_function()
    mse = keras.losses.MeanSquaredError()
    verify.assert_graph(model.train_function, *batch(None), loss=mse)
    with pytest.raises(verify.GraphAssertionError, match="loss"):
        verify.assert_graph(model.train_function, *batch(None), loss=keras.losses.LogCosh())


def test_a_loss_in_a_branch_is_that_of_the_branch() -> None:
    model, flag = dense(), tf.Variable(True, trainable=False, name="flag")
    mse = keras.losses.MeanSquaredError()

    def either(y: Any, p: Any) -> Any:
        return tf.cond(
            flag,
            lambda: tf.reduce_mean((y - p) ** 2),
            lambda: tf.reduce_mean(tf.maximum(y - p, p - y)),
        )

    train = step(model, either)
    verify.assert_graph(train, *batch(), model=model, loss=[mse, "mae"])
    for wrong in ([mse, mse], ["mae", "mae"], [mse], [mse, "log_cosh"]):
        with pytest.raises(verify.GraphAssertionError, match="loss"):
            verify.assert_graph(train, *batch(), model=model, loss=wrong)


def test_terms_of_one_loss_wherever_they_are_added() -> None:
    """An objective is taken apart, however it is summed."""
    model, mse, mae = dense(), keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()

    def square(y: Any, p: Any) -> Any:
        return tf.reduce_mean((y - p) * (y - p))

    sums = [
        lambda y, p: square(y, p) + 0.5 * tf.reduce_mean(tf.abs(p - y)),
        lambda y, p: tf.add_n([0.5 * tf.reduce_mean(tf.abs(y - p)), square(y, p)]),
        lambda y, p: 0.5 * (2 * square(y, p) + tf.reduce_mean(tf.maximum(p - y, y - p))),
    ]
    for total in sums:
        train = step(model, total)
        verify.assert_graph(train, *batch(), model=model, loss=[(mse, 1.0), (mae, 0.5)])
        for wrong in ([mse], [mse, mae], [(mse, 0.5), (mae, 0.5)]):
            with pytest.raises(verify.GraphAssertionError, match="loss"):
                verify.assert_graph(train, *batch(), model=model, loss=wrong)


def test_two_looks_are_one_verdict() -> None:
    train, x, y, model = classifier("cce", SPELLINGS["cce"].same[0], None)
    looks = [Detector(capture(train, x, y, model=model)) for _ in range(2)]
    one, other = (detector.losses(SPELLINGS["cce"].loss)[0] for detector in looks)
    assert [found.nodes for found in one] == [found.nodes for found in other]


def test_losses_of_examples_that_a_tape_adds_up() -> None:
    """What is differentiated need not be one number."""
    model = dense()
    train = step(model, lambda y, p: tf.reduce_mean((y - p) ** 2, axis=-1))
    total = keras.losses.MeanSquaredError(reduction="sum")
    verify.assert_graph(train, *batch(), model=model, loss=total)
    with pytest.raises(verify.GraphAssertionError, match="loss"):
        verify.assert_graph(train, *batch(), model=model, loss="mse")
