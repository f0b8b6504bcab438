"""Train steps written by hand, correct and faulty, that the tests of verify look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from verify.assertions import Expectation
from verify.find import Detector
from verify.step import capture

Gradients = list[Any]


def dense(
    *,
    features: int = 4,
    outputs: int = 1,
    activation: str | None = None,
    kernel: Any = None,
    bias: Any = None,
    policy: str | None = None,
) -> keras.Model:
    """features-5-outputs, regularised as asked on the first layer."""
    return keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(
                5, "tanh", kernel_regularizer=kernel, bias_regularizer=bias, dtype=policy
            ),
            keras.layers.Dense(outputs, activation, dtype=policy),
        ]
    )


def batch(size: int | None = 8, features: int = 4, outputs: int = 1) -> tuple[Any, Any]:
    """Specs of a batch; `size` None leaves the batch dimension open."""
    return tf.TensorSpec((size, features)), tf.TensorSpec((size, outputs))


def step(
    model: keras.Model,
    loss: Callable[[Any, Any], Any],
    *,
    optimizer: keras.optimizers.Optimizer | None = None,
    variables: Sequence[Any] | None = None,
    treat: Callable[[Gradients], Gradients] = lambda gradients: gradients,
    extra: Callable[[Any, Any], Any] | None = None,
    after: Callable[[Any, Any, Any], Any] | None = None,
) -> Any:
    """A hand-written step: `extra` is added to the loss, `after` runs on (x, y, prediction)."""
    optimizer = optimizer or keras.optimizers.SGD(0.1)
    trained = list(model.trainable_variables if variables is None else variables)
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(x: Any, y: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in trained:
                tape.watch(variable.value)
            prediction = model(x, training=True)
            value = loss(y, prediction)
            if extra is not None:
                value += extra(y, prediction)
        gradients = treat(tape.gradient(value, [v.value for v in trained]))
        optimizer.apply(gradients, trained)
        if after is not None:
            after(x, y, prediction)
        return value

    return train


class Asked:
    """A step that is traced once and asked several times: what was found stays known."""

    def __init__(self, target: Any, *args: Any, model: Any = None) -> None:
        self._detector = Detector(capture(target, *args, model=model))

    def __call__(self, **expected: Any) -> str:
        """What is violated of keywords of `assert_graph`; empty if the step is as expected."""
        return "\n".join(map(str, Expectation.of(expected).violations_of(self._detector)))


def sum_of_losses(model: keras.Model) -> Callable[[Any, Any], Any]:
    """The model's regularisation, as a term to add to a loss."""
    return lambda y, prediction: tf.add_n(model.losses)
