"""What the config files of the tests name."""

from __future__ import annotations

from typing import Any

import keras

HUBER = keras.losses.Huber(0.5)


def often(callback: Any) -> bool:
    return bool(callback.batches % 3 < 2)


def later(callback: Any) -> bool:
    return bool(callback.epochs >= 1)


def kernels(model: keras.Model) -> list[Any]:
    return [v for v in model.trainable_variables if v.name == "kernel"]


def halved(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [gradient / 2 for gradient in gradients]


def apart(model: keras.Model, data: Any) -> Any:
    """An objective of two named parts."""
    x, y = data
    first = keras.tree.flatten(y)[0]
    prediction, other = (keras.tree.flatten(model(z, training=True))[0] for z in (x, -x))
    ops = keras.ops
    return {
        "fit": ops.mean(ops.square(prediction - first)),
        "odd": ops.mean(ops.abs(prediction - other)),
    }


def last_layer(model: keras.Model) -> Any:
    return model.layers[-1]


def halt(callback: Any) -> None:
    callback.model.stop_training = True
