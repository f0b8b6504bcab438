"""Weights of losses of a branch: numbers, of `when` as well, and variables; by output or part."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import ConfigError, LoopControllerCallback, when
from tests.loopctl.compile.test_accumulation import BATCHES, SIZE, X, assert_alike, build, fitted
from tests.loopctl.test_distributed import mirrored
from tests.oracle import eager

Y = [X[:, :1], X[:, 1:2] ** 2]


def two_outputs(**options: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((3,))
    below = keras.layers.Dense(4, "tanh", name="below")(inputs)
    model = keras.Model(inputs, [keras.layers.Dense(1, name=name)(below) for name in "ab"])
    options = {"loss": ["mse", "mae"], "loss_weights": [3.0, 0.1], **options}
    model.compile(keras.optimizers.SGD(0.1), **options)
    return model


def by_hand(model: keras.Model, weights: Any, losses: Any = ("mse", "mae")) -> list[float]:
    """Trains on all batches by a tape; `weights` are those of both outputs in each step."""
    found = []
    functions = [keras.losses.get(loss) for loss in losses]
    for i in range(8):
        rows = slice(i * SIZE, (i + 1) * SIZE)
        with tf.GradientTape() as tape:
            predicted = model(X[rows], training=True)
            parts = [
                keras.ops.mean(f(y[rows], p))
                for f, y, p in zip(functions, Y, predicted, strict=True)
            ]
            loss = sum(w * part for w, part in zip(weights(i), parts, strict=True))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.1 * gradient)
        found.append(float(loss))
    return found


GIVEN: list[Any] = [
    [when.linear(1, 0, over=4), 0.5],
    {"b": 0.5, "a": when.linear(1, 0, over=4)},
]


@pytest.mark.parametrize(
    ("replicas", "given", "options"),
    [
        (1, GIVEN[0], {}),
        (1, GIVEN[1], {"loss": {"a": "mse", "b": "mae"}, "loss_weights": None}),
        (1, GIVEN[1], {"jit_compile": True, "steps_per_execution": 4}),
        (2, GIVEN[0], {"steps_per_execution": 4}),
    ],
    ids=str,
)
def test_weights_of_outputs(replicas: int, given: Any, options: Any) -> None:
    reference = two_outputs()
    expected = by_hand(reference, lambda i: (max(1 - i / 4, 0), 0.5))
    with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
        model = two_outputs(**options)
    callback = LoopControllerCallback({"all": {"cond": when.always, True: {"loss_weights": given}}})
    fit = {"batch_size": SIZE, "shuffle": False, "verbose": 0, "callbacks": [callback]}
    y = dict(zip("ab", Y, strict=True)) if isinstance(options.get("loss"), dict) else Y
    logs = model.fit(X, y, **fit).history
    np.testing.assert_allclose(callback.history.column("loss"), expected, rtol=1e-4)
    assert_alike(model, reference)
    assert logs["a_loss"][0] > 0, "Keras' own figures are those of each loss, unweighed"
    if not options:
        verify.assert_config(model, callback, (X[:SIZE], [y[:SIZE] for y in Y]))
        assert "sample_weight, [value_of('loss_weight_0'), 0.5])" in callback.source("all", True)


def test_numbers_are_checked_in_the_graph_and_variables_can_be_set() -> None:
    model, reference = two_outputs(), two_outputs()
    weight = keras.Variable(2.0, trainable=False)
    config = {
        "own": {"cond": when.batches < 4, True: {"loss": "mae", "loss_weights": [0.5, 2]}},
        "set": {"cond": when.batches >= 4, True: {"loss_weights": {"b": weight}}},
    }
    callback = LoopControllerCallback(config)
    halve = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weight.assign(weight / 2)
    )
    fit = {"batch_size": SIZE, "shuffle": False, "verbose": 0, "callbacks": [callback, halve]}
    model.fit(X, Y, **fit)
    first = by_hand(reference, lambda i: (0.5, 2.0) if i < 4 else (0, 0), ("mae", "mae"))
    second = by_hand(reference, lambda i: (1.0, 2.0 * 0.5**i) if i >= 4 else (0, 0))
    np.testing.assert_allclose(callback.history.column("loss")[:4], first[:4], rtol=1e-4)
    np.testing.assert_allclose(callback.history.column("loss")[4:], second[4:], rtol=1e-4)
    assert_alike(model, reference)
    verify.assert_config(model, callback, (X[:SIZE], [y[:SIZE] for y in Y]))


def parts(model: Any, data: Any) -> Any:
    x, y = data
    prediction = model(x, training=True)
    errors = prediction - y
    mean = keras.ops.mean
    return {"fit": mean(errors**2), "size": mean(keras.ops.abs(prediction))}, prediction


def test_parts_of_an_objective() -> None:
    """They are reported as the objective has computed them."""
    half = {"cond": when.every(2), False: {"objective": parts, "loss_weights": 0.5}}
    annealed = {"size": when.linear(0, 1, over=6)}
    config = {
        "free": {"cond": when.always, True: {"objective": parts, "loss_weights": annealed}},
        "half": half,
    }
    twin = {
        "free": {
            "cond": lambda self: True,
            True: {
                "objective": parts,
                "loss_weights": {"size": lambda self: min(self.batches / 6, 1)},
            },
        },
        "half": {**half, "cond": lambda self: self.batches % 2 == 0},
    }
    model, reference = build(steps_per_execution=4, jit_compile=True), build()
    callback = fitted(model, config)
    expected = eager.train(reference, twin, BATCHES)
    for name in ("loss_free", "free_size", "loss_half"):
        found = callback.history.column(name)
        np.testing.assert_allclose(found, [step[name] for step in expected], rtol=1e-4)
    assert_alike(model, reference)
    verify.assert_config(model, callback, BATCHES[0])


class Own(keras.Model):
    def compute_loss(self, *args: Any, **options: Any) -> Any:
        return super().compute_loss(*args, **options)


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        ({"loss_weights": [1.0]}, "has 1 weights for 2 losses: one for each is needed"),
        (
            {"loss_weights": {"aa": 1.0}},
            "'aa', which is not an output with a loss: there are 'a', 'b'.",
        ),
        ({"loss": "mae", "loss_weights": [1, 2, 3]}, "has 3 weights for 2 losses"),
        (
            {"loss": {"a": "mae", "b": "mse"}, "loss_weights": [1, 2]},
            "is a list, but losses are given by name",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(branch: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        LoopControllerCallback({"all": {"cond": when.always, True: branch}}).attach(two_outputs())
    assert 'config["all"][True]["loss_weights"]' in str(error.value)
    assert message in str(error.value)


def test_who_computes_a_loss_by_itself_weighs_it() -> None:
    plain = build()
    model = Own(plain.inputs, plain.outputs)
    model.compile("sgd", "mse")
    config = {"all": {"cond": when.always, True: {"loss_weights": 0.5}}}
    with pytest.raises(ConfigError, match="has no effect on the compute_loss of model"):
        LoopControllerCallback(config).attach(model)
    wrong = {"objective": parts, "loss_weights": {"siz": 0.5}}
    with pytest.raises(ConfigError, match=r"'siz', which is not a part .* Did you mean 'size'\?"):
        fitted(build(), {"all": {"cond": when.always, True: wrong}})
