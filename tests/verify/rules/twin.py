"""What a twin is made of: small steps by hand, and models under Keras' own train step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

MSE = keras.losses.MeanSquaredError()
BATCH = tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1))
CLASSES = tf.TensorSpec((8, 4)), tf.TensorSpec((8,), "int32")
WEIGHED = *BATCH, tf.TensorSpec((8,))


@dataclasses.dataclass(frozen=True)
class Target:
    """What `verify.lint` is handed."""

    step: Any
    args: tuple[Any, ...] = BATCH
    model: Any = None


Make = Callable[[], Target]


@dataclasses.dataclass(frozen=True)
class Twins:
    """The rule that `wrong` steps break, and a right one that is much alike."""

    rule: str
    right: Make
    wrong: tuple[Make, ...]


def network(
    *layers: Any, outputs: int = 1, activation: str | None = None, **first: Any
) -> keras.Sequential:
    """4-5-outputs, with some layers in between."""
    head = keras.layers.Dense(outputs, activation, name="head")
    hidden = keras.layers.Dense(5, "tanh", name="hidden", **first)
    return keras.Sequential([keras.Input((4,)), hidden, *layers, head])


def built(optimizer: Any, variables: Sequence[Any]) -> Any:
    optimizer.build(variables)
    return optimizer


def by_hand(
    model: keras.Model | None = None,
    *,
    loss: Callable[..., Any] = MSE,
    call: Callable[[Any, Any], Any] | None = None,
    treat: Callable[[list[Any]], list[Any]] = lambda gradients: gradients,
    apply: Callable[[list[Any], list[Any]], Any] | None = None,
    optimizer: Any = None,
    args: tuple[Any, ...] = BATCH,
    after: Callable[[], Any] = lambda: None,
    variables: Callable[[Any], list[Any]] = lambda model: model.trainable_variables,
) -> Target:
    """A step with a tape: `call` makes the prediction of the model and x, `apply` the update."""
    net = network() if model is None else model
    trained = variables(net)
    made = built(keras.optimizers.SGD(0.1) if optimizer is None else optimizer, trained)

    def by_optimizer(gradients: list[Any], variables: list[Any]) -> None:
        made.apply(gradients, variables)

    update = by_optimizer if apply is None else apply

    @tf.function(autograph=False)
    def step(x: Any, y: Any, *weights: Any) -> Any:
        with tf.GradientTape() as tape:
            prediction = net(x, training=True) if call is None else call(net, x)
            value = loss(y, prediction, *weights)
        update(treat(tape.gradient(value, [v.value for v in trained])), trained)
        after()
        return value

    return Target(step, args, net)


def compiled(
    model: keras.Model | None = None,
    loss: Any = "mse",
    optimizer: Any = "sgd",
    args: tuple[Any, ...] = BATCH,
    **said: Any,
) -> Target:
    """A model under Keras' own train step."""
    net = network() if model is None else model
    net.compile(optimizer, loss, **said)
    return Target(net, (args,))


def descend(gradients: list[Any], variables: list[Any], rate: float = 0.1) -> None:
    """Gradient descent by hand."""
    for gradient, variable in zip(gradients, variables, strict=True):
        variable.assign_sub(rate * gradient)
