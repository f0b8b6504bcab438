"""Steps that show what `verify` does not see, traced once and asked several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tests.verify.steps import Asked, batch, dense

Loss = Callable[[Any, Any], Any]

X, Y = batch()


def mse(y: Any, p: Any) -> Any:
    return tf.reduce_mean(tf.square(y - p))


def net(
    *layers: keras.layers.Layer, features: int = 4, dtype: str | None = None
) -> keras.Sequential:
    """A model of these layers, and a unit."""
    return keras.Sequential([keras.Input((features,), dtype=dtype), *layers, keras.layers.Dense(1)])


def descent(
    loss: Callable[..., Any], variables: Sequence[Any], optimizer: Any = None
) -> Callable[..., Any]:
    """A step that trains variables by a loss of the step's arguments."""
    sgd = optimizer or keras.optimizers.SGD(0.1)
    sgd.build(list(variables))

    @tf.function(autograph=False)
    def train(*args: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(*args)
        sgd.apply(tape.gradient(value, [v.value for v in variables]), variables)

    return train


def asked(loss: Callable[..., Any], model: Any, *args: Any) -> Asked:
    """A step that trains a model by a loss of x and y, or of other arguments."""
    return Asked(descent(loss, model.trainable_variables), *(args or (X, Y)), model=model)


def judged(loss: Loss, *args: Any, **settings: Any) -> Asked:
    """A step that trains a small model by a loss of the target and the prediction."""
    model = dense(**settings)
    return asked(lambda x, y: loss(y, model(x, training=True)), model, *args)
