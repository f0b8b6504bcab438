"""`assert_config` of keys that are right together, and were refused once."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, when

ROWS = np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32")
layers, optimizers = keras.layers, keras.optimizers


def half(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [0.5 * gradient for gradient in gradients]


def by_size(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [g / (1 + tf.reduce_mean(tf.abs(g))) for g in gradients]


def noisy(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [g + 0.1 * tf.random.normal(tf.shape(g)) for g in gradients]


def halves(model: keras.Model, data: Any) -> Any:
    errors = keras.ops.square(keras.ops.cast(model(data[0]), "float32") - data[1])
    return keras.ops.mean(errors[:4]) + keras.ops.mean(errors[4:])


def even(model: keras.Model, data: Any) -> Any:
    """A linear model's biases have no gradient of it."""
    apart = keras.ops.abs(model(data[0]) - model(-data[0]))
    return keras.ops.mean(keras.ops.cast(apart, "float32"))


@dataclasses.dataclass(frozen=True)
class Case:
    """A model in a precision, its optimizer, and one branch of a config."""

    settings: dict[str, Any]
    optimizer: Any = "sgd"
    policy: str = "float32"
    left: tuple[str, ...] = ()

    def controlled(self) -> tuple[keras.Model, LoopControllerCallback]:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)
        try:
            hidden = layers.Dense(3, bias_regularizer="l1", name="below")
            out = layers.Dense(1, dtype="float32" if "mixed" in self.policy else None, name="dense")
            model = keras.Sequential([keras.Input((4,)), hidden, out], name="sequential")
            model.compile(self.optimizer, "mse")
            callback = LoopControllerCallback({"a": {"cond": when.always, True: self.settings}})
            return model, callback.attach(model)
        finally:
            keras.config.set_dtype_policy(before)


ZERO = (
    "config['a'][True]: what enters the optimizer: all gradients are zero: "
    "sequential/below/bias, sequential/dense/bias"
)
NOISE = {"clip": 1.0, "noise": 0.5}
COSINE = when.cosine(0.1, 0.01, over=9)
CASES = {
    # The seed of noise is kept from step to step, but is no part of a gradient.
    "noise and the state of an optimizer": Case(
        {"per_example": NOISE, "optimizer": "adamw", "learning_rate": COSINE}
    ),
    # Of a gradient with a term, which is added after the noise, that is not to be seen.
    "noise before a term": Case(
        {"per_example": NOISE, "optimizer": "adam", "regularize": True},
        left=(
            "config['a'][True]: per_example: "
            "another key is about the gradients of examples as well",
        ),
    ),
    # That all is finite is asked of scaled gradients: what follows is not made of these.
    "a term, a scale and a function": Case(
        {"regularize": True, "objective": halves, "gradients": by_size},
        optimizers.RMSprop(0.01),
        "mixed_float16",
    ),
    # What enters is noise alone, or sums of before.
    "noise on zeros": Case(
        {"objective": even, "gradients": noisy, "variables": "*bias"}, left=(ZERO,)
    ),
    "sums of zeros": Case({"objective": even, "accumulate": 2, "variables": "*bias"}, left=(ZERO,)),
    # Twice a loss and half its gradient is no loss scale.
    "a weight and its reciprocal": Case({"loss_weights": 2.0, "gradients": half}),
    # A bound times its inverse is 1.001 in bfloat16.
    "a bound of the mean in half precision": Case(
        {"accumulate": 2, "clipping": (-0.1, 0.1), "loss_weights": 2.0, "variables": "*kernel"},
        optimizers.SGD(0.05, global_clipnorm=0.2),
        "bfloat16",
    ),
    "float16": Case({"clipping": {"norm": 0.3}, "accumulate": 2}, "adam", "float16"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_right_is_not_refused(name: str) -> None:
    case = CASES[name]
    assert verify.assert_config(*case.controlled(), ROWS) == case.left
