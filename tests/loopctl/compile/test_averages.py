"""Moving averages of what a branch trains: kept aside, or in the weights of another model."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import ConfigError, LoopControllerCallback, when
from tests.loopctl.compile.test_accumulation import (
    BATCHES,
    SIZE,
    X,
    assert_alike,
    build,
    fitted,
)
from tests.loopctl.test_distributed import mirrored
from tests.oracle import eager

KEPT: dict[str, Any] = {
    "all": {
        "cond": when.always,
        True: {"average": {"decay": 0.7, "start": when.batches >= 3}, "accumulate": 2},
    }
}
TWIN = {
    "all": {
        "cond": lambda self: True,
        True: {"average": {"decay": 0.7, "start": lambda self: self.batches >= 3}, "accumulate": 2},
    }
}


@pytest.mark.parametrize(
    ("replicas", "options"),
    [
        (1, {}),
        (1, {"jit_compile": True, "steps_per_execution": 4}),
        (1, {"run_eagerly": True}),
        (2, {}),
    ],
    ids=str,
)
def test_averages_take_the_place_of_weights_in_the_end(replicas: int, options: Any) -> None:
    reference = build(keras.optimizers.SGD(0.5))
    eager.train(reference, TWIN, BATCHES)
    with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
        model = build(keras.optimizers.SGD(0.5), **options)
    fitted(model, KEPT)
    assert_alike(model, reference)


class Views(keras.Model):
    """A student with a predictor, and a teacher that follows the student (BYOL)."""

    def __init__(self) -> None:
        super().__init__(name="views")
        self.student, self.teacher = self.encoder("student"), self.encoder("teacher")
        self.predictor = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(2)], name="predictor"
        )
        self.teacher.trainable = False

    @staticmethod
    def encoder(name: str) -> keras.Model:
        layers = [keras.layers.Dense(2), keras.layers.BatchNormalization()]
        return keras.Sequential([keras.Input((3,)), *layers], name=name)


def alike(model: Any, data: Any) -> Any:
    x, _ = data
    told = model.predictor(model.student(x, training=True))
    seen = tf.stop_gradient(model.teacher(-x, training=False))
    return tf.reduce_mean((told - seen) ** 2)


def views(**options: Any) -> Views:
    keras.utils.set_random_seed(5)
    model = Views()
    model.compile(keras.optimizers.SGD(0.1), **options)
    return model


FOLLOWING: dict[str, Any] = {
    "learn": {
        "cond": when.always,
        True: {
            "objective": alike,
            "average": {"decay": 0.9, "into": "teacher", "of": "student"},
        },
    }
}


@pytest.mark.parametrize("options", [{}, {"jit_compile": True, "steps_per_execution": 3}], ids=str)
def test_a_teacher_follows(options: Any) -> None:
    """Its moving statistics as well, which are no variables that the branch trains."""
    model, reference = views(**options), views()
    eager.train(reference, FOLLOWING | {"learn": {**FOLLOWING["learn"], "cond": bool}}, BATCHES)
    callback = fitted(model, FOLLOWING)
    assert_alike(model, reference)
    assert callback.get_state()["branches"]["learn_on/average"] == [8], "the rest is the model's"
    assert "averaged.follow()" in callback.source("learn")


def test_a_teacher_that_is_frozen_follows_variables() -> None:
    """Of the same shapes, in order; statistics stay where they are."""
    branch = {
        "objective": alike,
        "variables": "student/*",
        "average": {"decay": 0.5, "into": lambda model: model.teacher},
    }
    model = views()
    before = model.teacher.get_weights()
    callback = fitted(model, {"learn": {"cond": when.always, True: branch}}, X[:SIZE])
    for old, new, fast in zip(
        before[:4], model.teacher.weights[:4], model.student.weights[:4], strict=True
    ):
        np.testing.assert_allclose(new, (old + fast.numpy()) / 2, rtol=1e-6)
    for old, new in zip(before[4:], model.teacher.get_weights()[4:], strict=True):
        np.testing.assert_array_equal(old, new)
    verify.assert_config(model, callback, BATCHES[0])


def test_averages_are_saved() -> None:
    config = {"all": {"cond": when.always, True: {"average": {"decay": 0.7}}}}
    whole, model = build(keras.optimizers.SGD(0.5)), build(keras.optimizers.SGD(0.5))
    fitted(whole, config)
    first = LoopControllerCallback(config)
    options = {"batch_size": SIZE, "shuffle": False, "verbose": 0}
    stop = keras.callbacks.LambdaCallback(
        on_train_end=lambda logs: states.append((first.get_state(), model.get_weights()))
    )
    states: list[Any] = []
    y = X.sum(axis=1, keepdims=True)
    model.fit(X[: 4 * SIZE], y[: 4 * SIZE], callbacks=[stop, first], **options)
    (state, weights), again = states[0], LoopControllerCallback(config)
    assert np.abs(weights[0] - model.get_weights()[0]).max() > 1e-4
    model.set_weights(weights)
    again.set_state(state)
    model.fit(X[4 * SIZE :], y[4 * SIZE :], callbacks=[again], **options)
    assert_alike(model, whole)


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        ({"into": "teacher"}, "have the shapes [(3, 2), (2,), (2,), (2,)], and the branch's"),
        ({"into": "student", "of": "teacher"}, "student/dense/kernel, student/dense/bias, student"),
        ({"into": "teachr"}, "'teachr' matches no layer"),
        ({"into": lambda model: keras.layers.Dense(1)}, "which is not a layer of model 'views'"),
    ],
)
def test_what_does_not_go_in_pairs_is_refused(branch: Any, message: str) -> None:
    whole = {"objective": alike, "average": {"decay": 0.9, **branch}}
    with pytest.raises(ConfigError) as error:
        LoopControllerCallback({"learn": {"cond": when.always, True: whole}}).attach(views())
    assert 'config["learn"][True]["average"]["into"]' in str(error.value)
    assert message in str(error.value)


def test_a_variable_has_one_average() -> None:
    branch = {"average": {"decay": 0.9}}
    config = {"turn": {"cond": when.every(2), True: branch, False: dict(branch)}}
    with pytest.raises(ConfigError, match=r"both average sequential/below/kernel"):
        LoopControllerCallback(config).attach(build())


def test_an_optimizer_that_averages_by_itself_is_refused() -> None:
    config = {"all": {"cond": when.always, True: {"average": {"decay": 0.9}}}}
    with pytest.raises(ConfigError, match=r"its optimizer does so by itself \(use_ema=True\)"):
        LoopControllerCallback(config).attach(build(keras.optimizers.SGD(0.1, use_ema=True)))
