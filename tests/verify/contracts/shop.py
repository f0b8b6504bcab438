"""A small project's training, which contracts in these tests are about."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from loopctl import LoopControllerCallback

BATCH = (tf.TensorSpec((32, 8)), tf.TensorSpec((32, 1)))


def model() -> keras.Model:
    hidden = keras.layers.Dense(16, "relu", kernel_regularizer="l2", name="hidden")
    made = keras.Sequential(
        [keras.Input((8,)), hidden, keras.layers.Dense(1, name="head")], name="shop"
    )
    made.compile("adam", loss="mse", metrics=["mae"])
    return made


def plain() -> Any:
    return model(), BATCH


def controlled() -> Any:
    made = model()
    _attached(made)
    return made, BATCH


def main() -> Any:
    return _attached(model()).main_step, BATCH


def _attached(made: keras.Model) -> LoopControllerCallback:
    on = {
        "variables": "*head*",
        "clipping": (-0.1, 0.1),
        "loss": keras.losses.Huber(),
    }
    config = {"warmup": {"cond": lambda self: self.epochs < 3, True: on, False: {}}}
    return LoopControllerCallback(config).attach(made)


def quartic(y_true: Any, y_pred: Any) -> Any:
    return tf.reduce_mean((y_true - y_pred) ** 4, axis=-1)


class Scaled(keras.losses.Loss):
    """A loss of one's own with a setting."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(name="scaled")
        self.scale = scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.scale * tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1)


def own_losses() -> Any:
    made = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    made.compile("sgd", loss=[quartic])
    return made, BATCH


def calls_python() -> Any:
    """A step with an op that calls Python."""
    weight = tf.Variable(1.0, name="weight")

    @tf.function
    def step(x: tf.Tensor) -> None:
        weight.assign_sub(tf.py_function(lambda v: v, [tf.reduce_sum(x)], tf.float32))

    return step, tf.TensorSpec((2,))


def prints() -> Any:
    print("training data: 3 rows")
    return plain()


def leaves() -> Any:
    raise SystemExit(0)


def raises() -> Any:
    raise RuntimeError("the disk with the data is away")


NO_FACTORY = 3


def own() -> Any:
    made = model()
    made.compile("adam", loss=quartic)
    return made, BATCH


def own_and_more() -> Any:
    made = model()
    mse = keras.losses.MeanSquaredError()
    optimizer = keras.optimizers.SGD()
    optimizer.build(made.trainable_variables)

    def step(data: Any) -> None:
        x, y = data
        with tf.GradientTape() as tape:
            prediction = made(x, training=True)
            loss = tf.reduce_mean(quartic(y, prediction)) + mse(y, prediction)
        variables = made.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    return step, BATCH


def another() -> Any:
    made = model()
    made.compile("adam", loss=Scaled(2.0))
    return made, BATCH
